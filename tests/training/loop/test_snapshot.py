"""What a retraining learns from: base data, traffic and verdicts, put together by one schema."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nearnorm.models.data.schema import Feature, FeatureSchema, Kind
from nearnorm.models.errors import DataError
from nearnorm.models.retraining import Verdict
from nearnorm.training.dataset.labels import ANOMALY, NORMAL, UNLABELLED
from nearnorm.training.dataset.load import Dataset, load
from nearnorm.training.dataset.source import ROOT, recorded, resolve
from nearnorm.training.loop.snapshot import check_columns, take


@pytest.fixture
def base(tmp_path: Path) -> Dataset:
    rng = np.random.default_rng(0)
    columns = {
        "x": rng.normal(size=40),
        "kind": ["a", "b"] * 20,
        "constant": ["same"] * 40,
        "label": pa.array([1] + [None] * 39, pa.int8()),
    }
    pq.write_table(pa.table(columns), tmp_path / "base.parquet")
    return load(str(tmp_path / "base.parquet"), "label")


def verdict(name: str, record: dict[str, object], anomaly: bool = True, known: bool = False) -> Verdict:
    return Verdict(name, name, anomaly, record, 1.0, known)


def test_traffic_and_verdicts_join_the_base_rows(base: Dataset) -> None:
    new: dict[str, object] = {"x": 9.0, "kind": "b"}
    snapshot = take(base, [{"x": 0.5, "kind": "a"}, {"x": 0.5, "kind": "a"}, new], [verdict("f", new)])
    assert snapshot.data.labels.tolist() == [*base.labels.tolist(), UNLABELLED, ANOMALY]
    assert snapshot.place.tolist() == [41]
    assert snapshot.data.schema == base.schema
    assert snapshot.data.facts.rows == 42
    assert snapshot.data.facts.anomalies == 2


def test_a_record_that_the_base_holds_is_labelled_there(base: Dataset) -> None:
    same: dict[str, object] = {"x": float(base.numeric[7, 0]), "kind": "b"}
    snapshot = take(base, [same], [verdict("f", same, anomaly=False)])
    assert len(snapshot.data.labels) == 40
    assert snapshot.data.labels[7] == NORMAL
    assert snapshot.place.tolist() == [7]
    assert snapshot.known[7] == UNLABELLED


def test_what_the_champion_did_not_learn_is_hidden_from_its_recipe(base: Dataset) -> None:
    old, new = verdict("old", {"x": 8.0, "kind": "a"}, known=True), verdict("new", {"x": 9.0, "kind": "a"})
    snapshot = take(base, [], [old, new])
    assert snapshot.known[snapshot.place].tolist() == [ANOMALY, UNLABELLED]
    assert snapshot.present[snapshot.place].tolist() == [True, False]


def test_a_record_that_does_not_fit_is_left_out_and_named(base: Dataset) -> None:
    snapshot = take(base, [], [verdict("bad", {"x": "much"}), verdict("foreign", {"y": 1.0})])
    assert snapshot.place.tolist() == [-1, -1]
    assert len(snapshot.data.labels) == 40
    assert [problem.split(" is")[0] for problem in snapshot.problems] == ["label bad", "label foreign"]


def test_the_digest_covers_labels(base: Dataset) -> None:
    record: dict[str, object] = {"x": 9.0, "kind": "b"}
    one = take(base, [], [verdict("f", record)])
    other = take(base, [], [verdict("f", record, anomaly=False)])
    assert one.digest != other.digest
    assert one.digest == take(base, [], [verdict("f", record)]).digest


def test_a_column_that_changed_its_kind_is_refused(base: Dataset) -> None:
    features = (Feature(name="x", kind=Kind.CATEGORICAL), Feature(name="kind", kind=Kind.CATEGORICAL))
    with pytest.raises(DataError, match="column 'x' was categorical and is numeric now"):
        check_columns("base", base.schema, FeatureSchema(features=features))


def test_base_data_is_found_again_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve(recorded("data.csv")) == str(tmp_path / "data.csv")
    shipped = str(ROOT / "training" / "samples" / "shuttle_train.parquet")
    assert recorded(shipped) == "training/samples/shuttle_train.parquet"
    assert recorded(str(Path(shipped).resolve())) == "training/samples/shuttle_train.parquet", "in a checkout"
    assert resolve(recorded(shipped)) == shipped

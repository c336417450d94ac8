"""Training on more rows than are kept is training on the rows that are drawn: the same model, to the byte."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.bundle.manifest import Draw, Reading
from nearnorm.models.data.files.parts import open_parts
from nearnorm.models.errors import DataError
from nearnorm.training.commands import ProgressStyle
from nearnorm.training.commands import train as command
from nearnorm.training.dataset.known_normal import load_known_normal
from nearnorm.training.dataset.lake.draw import keep
from nearnorm.training.dataset.load import load
from nearnorm.training.dataset.recipe import Recipe
from nearnorm.training.job import TrainingJob, Watcher, prepare
from nearnorm.training.loop.base_data import read_base
from tests.training.conftest import PAYMENTS, PAYMENTS_HELD_OUT, SILENT, train
from tests.training.samples import quick

READING = Reading(draw=Draw(unlabelled=1_000))
LABELLED, IN_ALL = 35, 3_000


def scattered(folder: Path, source: str = PAYMENTS) -> str:
    """The payments in another order, in four files and many row groups."""
    table = pq.read_table(source)
    table = table.take(np.random.default_rng(1).permutation(len(table)))
    for i, start in enumerate(range(0, len(table), 800)):
        pq.write_table(table.slice(start, 800), folder / f"{i}.parquet", row_group_size=100)
    return str(folder)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    return scattered(tmp_path_factory.mktemp("lake"))


@pytest.fixture(scope="module")
def drawn(lake: str, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return train(tmp_path_factory.mktemp("drawn") / "out", lake, reading=READING)


def test_the_same_sample_gives_the_same_model_whatever_it_was_drawn_from(
    drawn: Bundle, tmp_path: Path
) -> None:
    kept = keep(open_parts(PAYMENTS), "label", READING).table
    pq.write_table(kept, tmp_path / "sample.parquet")
    alone = train(tmp_path / "alone", str(tmp_path / "sample.parquet"))
    assert drawn.model == alone.model
    one, other = drawn.manifest.core, alone.manifest.core
    assert one.data.digest == other.data.digest
    told = {"data": other.data, "metrics": other.metrics}
    assert one.model_copy(update=told) == other, "but for how many rows there are in all"
    again = load(PAYMENTS, "label", reading=READING)
    assert again.facts == one.data, "from one file in another order"


def test_how_many_rows_were_read_and_drawn_is_told(drawn: Bundle) -> None:
    facts = drawn.manifest.core.data
    assert (facts.rows, facts.anomalies, facts.normals) == (1_000 + LABELLED, 20, 15)
    assert (facts.unlabelled, facts.drawn_from) == (1_000, IN_ALL - LABELLED)
    assert drawn.manifest.reading == READING
    report = json.loads((drawn.path / "report.json").read_bytes())
    assert report["rows"]["drawn_from"] == IN_ALL - LABELLED
    assert "of 3,000 in all" in (drawn.path / "report.html").read_text()


def test_a_retraining_draws_the_same_rows_of_the_base_data(drawn: Bundle, lake: str) -> None:
    own = Recipe(fit=quick(), columns={})
    base = read_base(drawn.manifest, None, own, own, trusted=True)
    assert base.changed is None
    assert base.data.facts == drawn.manifest.core.data


def test_reference_rows_are_drawn_likewise_and_an_anomaly_among_all_of_them_is_refused(
    drawn: Bundle, tmp_path: Path
) -> None:
    schema = drawn.manifest.core.features
    table = pq.read_table(PAYMENTS_HELD_OUT)
    clean = table.filter(pc.equal(table["label"], 0))
    pq.write_table(clean, tmp_path / "clean.parquet")
    few = Reading(draw=Draw(unlabelled=300))
    (tmp_path / "lake").mkdir()
    one = load_known_normal(str(tmp_path / "clean.parquet"), "label", schema, few)
    other = load_known_normal(
        scattered(tmp_path / "lake", str(tmp_path / "clean.parquet")), "label", schema, few
    )
    assert len(one.numeric) == 300 < len(clean)
    assert one.digest == other.digest
    labels = pa.array([0] * (len(clean) - 1) + [1], pa.int8())
    bad = clean.set_column(clean.column_names.index("label"), "label", labels)
    pq.write_table(bad, tmp_path / "bad.parquet")
    with pytest.raises(DataError, match=f"row {len(clean)} is labelled an anomaly"):
        load_known_normal(str(tmp_path / "bad.parquet"), "label", schema, few)


def test_rows_are_told_while_they_are_read_and_then_what_was_kept(lake: str, tmp_path: Path) -> None:
    read: list[tuple[int, int]] = []
    told: list[int | None] = []
    watcher = Watcher(
        *(SILENT.step, SILENT.schema, SILENT.warning),
        rows=lambda rows, of: read.append((rows, of)),
        drawn=lambda facts: told.append(facts.drawn_from),
    )
    recipe = Recipe(fit=quick(), columns={})
    prepare(TrainingJob(lake, tmp_path / "out", recipe, reading=READING), watcher)
    assert read == sorted(read)
    assert read[-1] == (2 * IN_ALL, 2 * IN_ALL)
    assert told == [IN_ALL - LABELLED]
    prepare(TrainingJob(PAYMENTS, tmp_path / "out", recipe, reading=Reading(draw=Draw())), watcher)
    assert told == [IN_ALL - LABELLED], "of data that is wholly kept nothing is said"


def test_the_command_says_what_was_read_and_drawn(
    lake: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = str(tmp_path / "gone.parquet")
    with pytest.raises(DataError, match="does not exist"):  # after the data was read
        command(lake, tmp_path / "m", unlabelled=1_000, held_out=gone, progress=ProgressStyle.JSON)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"stage": "read", "rows": 2 * IN_ALL, "of": 2 * IN_ALL} in events
    assert {"read": IN_ALL, "labelled": LABELLED, "drawn": 1_000} in events


def test_a_bad_value_among_drawn_rows_says_which_rows_are_counted(tmp_path: Path) -> None:
    table = pa.table({"x": [1.0, 2.0, np.inf] * 1_000, "s": ["a", "b"] * 1_500, "label": pa.nulls(3_000)})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"counts the 1,000 rows that are kept\)"):
        load(str(tmp_path / "a.parquet"), "label", reading=READING)


def test_a_counter_is_an_identifier_though_few_of_its_rows_are_drawn(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pa.table({"n": np.arange(9_000), "x": rng.normal(size=9_000), "label": pa.nulls(9_000)})
    pq.write_table(table, tmp_path / "a.parquet")
    kinds = {f.name: str(f.kind) for f in load(str(tmp_path), "label", reading=READING).schema.features}
    assert kinds == {"n": "id", "x": "numeric"}

"""What a detector fits is what `nearnorm train` writes, and it scores as the service does."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nearnorm import NearnormDetector
from nearnorm.models.bundle.bundle import Bundle, read_bundle
from nearnorm.models.errors import BundleError
from nearnorm.service.app import create_app
from nearnorm.service.batch.record_batches import BatchScorer
from nearnorm.service.batch.score_file import score_file
from nearnorm.service.settings import Settings
from nearnorm.service.verdict.offline import without_ledger
from nearnorm.training.dataset.recipe import Recipe
from nearnorm.training.job import prepare
from nearnorm.training.method.config import FitConfig
from nearnorm.training.pipeline import train_bundle
from tests.detector.conftest import FEW_TREES, quick, quietly
from tests.service.running import home_with, serving
from tests.training.conftest import SILENT, job


@pytest.fixture(scope="module")
def saved(detector: NearnormDetector, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("saved") / "payments"
    detector.save(folder)
    return read_bundle(folder)


def trained(out: Path, source: Path, **changes: Any) -> Bundle:
    recipe = Recipe(fit=FitConfig.model_validate(FEW_TREES), columns={})
    return train_bundle(prepare(job(out, str(source), recipe=recipe, **changes), SILENT), SILENT)


@pytest.fixture(scope="module")
def bundle(rows: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """What `nearnorm train` writes for a file of the same rows."""
    folder = tmp_path_factory.mktemp("trained")
    pq.write_table(rows, folder / "rows.parquet")
    return trained(folder / "model", folder / "rows.parquet")


def test_the_same_rows_give_the_bundle_that_train_gives(
    detector: NearnormDetector, saved: Bundle, bundle: Bundle
) -> None:
    assert detector.version_ == saved.version == bundle.version
    assert saved.model == bundle.model
    assert {path.name for path in saved.path.iterdir()} == {path.name for path in bundle.path.iterdir()}


def test_a_polars_frame_gives_it_too(
    payments: pa.Table, labels: pd.Series, detector: NearnormDetector
) -> None:
    frame = pl.DataFrame(payments)
    found = quietly(quick(), frame, pl.Series(labels.to_numpy(), nan_to_null=True))
    assert found.version_ == detector.version_
    assert found.feature_names_in_.tolist() == frame.columns


def test_a_pandas_frame_gives_what_train_makes_of_its_file(
    payments: pa.Table, labels: pd.Series, tmp_path: Path
) -> None:
    frame = payments.to_pandas()
    frame.assign(label=labels).to_parquet(tmp_path / "rows.parquet", index=False)
    reference = frame[labels.isna()].sample(60, random_state=0)
    reference.to_parquet(tmp_path / "normal.parquet", index=False)
    theirs = trained(tmp_path / "m", tmp_path / "rows.parquet", reference=str(tmp_path / "normal.parquet"))
    frame.index = frame.index[::-1]  # which is no column
    found = quietly(quick(), frame, labels, reference=reference)
    assert found.version_ == theirs.version
    assert found._bundled.manifest.reference_source == "memory://reference"


def test_scores_verdicts_and_reasons_are_those_of_the_service(
    detector: NearnormDetector, saved: Bundle, payments: pa.Table, tmp_path: Path
) -> None:
    some = payments.slice(0, 150)
    strange = some.slice(0, 2).set_column(5, "attempts", pa.array([10**9, -5]))
    unseen = some.slice(0, 1).set_column(8, "country", pa.array(["Atlantis"]))
    some = pa.concat_tables([some, strange, unseen])
    with serving(create_app(Settings(home=home_with(tmp_path / "home", saved)))) as client:
        asked = client.post("/score", json={"records": some.to_pylist(), "explain": True})
    served = asked.json()["results"]
    assert detector.decision_function(some) == pytest.approx([r["score"] for r in served], abs=1e-5)
    assert detector.predict(some).tolist() == [int(r["anomaly"]) for r in served]
    assert sum(detector.predict(some)) > 1
    assert served[-3]["novel"] == ["attempts"]
    assert "Atlantis" in [reason["value"] for reason in detector.explain(some)[-1]]
    for mine, theirs in zip(detector.explain(some), served, strict=True):
        assert [r["feature"] for r in mine] == [r["feature"] for r in theirs.get("reasons", [])]
        for ours, reason in zip(mine, theirs.get("reasons", []), strict=True):
            assert ours["expected"] == reason["expected"]
            assert ours["value"] == reason["value"]
            assert ours["effect"] == pytest.approx(reason["effect"], abs=2e-4)


def test_scores_are_those_of_the_score_command(
    detector: NearnormDetector, saved: Bundle, payments: pa.Table, tmp_path: Path
) -> None:
    pq.write_table(payments, tmp_path / "rows.parquet")
    verdict = without_ledger(saved.manifest, None)
    out = tmp_path / "scores.parquet"
    score_file(BatchScorer(saved, verdict), str(tmp_path / "rows.parquet"), out)
    scores = pq.read_table(out)
    assert detector.decision_function(payments).tolist() == scores["score"].to_pylist()
    assert detector.predict(payments).tolist() == [int(a) for a in scores["anomaly"].to_pylist()]


def test_a_bundle_that_was_saved_or_trained_elsewhere_is_a_fitted_detector(
    detector: NearnormDetector, bundle: Bundle, payments: pa.Table
) -> None:
    found = NearnormDetector.load(bundle.path)
    assert found.get_params() == detector.get_params() | {"random_state": 0}
    assert found.threshold_ == detector.threshold_
    assert found.n_features_in_ == payments.num_columns
    assert found.feature_names_in_.tolist() == payments.column_names
    np.testing.assert_array_equal(found.decision_function(payments), detector.decision_scores_)
    assert found.version_ == detector.version_
    with pytest.raises(AttributeError, match="no rows of its fit"):
        _ = found.labels_


def test_a_folder_with_something_else_is_not_written_over(detector: NearnormDetector, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match="other files"):
        detector.save(tmp_path)
    with pytest.raises(BundleError, match="not a bundle"):
        NearnormDetector.load(tmp_path)

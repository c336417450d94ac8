import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import torch

from nearnorm.models.bundle.bundle import MODEL, Bundle, read_bundle
from nearnorm.models.bundle.review import REVIEW
from nearnorm.models.conformal import ranks
from nearnorm.models.data.files.read import read_table
from nearnorm.models.data.schema import Kind
from nearnorm.models.data.tables import to_arrays
from nearnorm.models.errors import BundleError, DataError
from nearnorm.training.dataset.recipe import Recipe
from nearnorm.training.fitting.fit import Progress, fit
from nearnorm.training.job import Watcher, prepare
from nearnorm.training.method.config import FitConfig
from nearnorm.training.pipeline import FIT_STAGES, train_bundle
from tests.training.conftest import PAYMENTS, PAYMENTS_HELD_OUT, job, train
from tests.training.samples import quick, sample


def test_a_bundle_is_whole_and_tells_what_it_was_trained_on(bundle: Bundle) -> None:
    files = {"manifest.json", MODEL, "report.json", "report.html", REVIEW}
    assert {file.name for file in bundle.path.iterdir()} == files
    core = read_bundle(bundle.path).manifest.core
    assert (core.data.rows, core.data.anomalies, core.data.normals) == (3_000, 20, 15)
    assert core.prototypes == len(core.groups) == len(core.reference.prototype_shares)
    kinds = {f.name: f.kind for f in core.features.features}
    assert kinds["payment_id"] is Kind.ID
    assert {name for name, kind in kinds.items() if kind is Kind.IGNORED} == {"currency"}
    since = {f.name: f.since for f in core.features.features if f.kind is Kind.TIME}
    assert since == {"created_at": ("customer_since",), "customer_since": ()}
    assert kinds["balance_cents"] is Kind.NUMERIC
    assert kinds["card_present"] is kinds["newsletter"] is Kind.BOOLEAN


def test_the_bundle_alone_scores_a_file_and_finds_its_frauds(bundle: Bundle) -> None:
    core = bundle.manifest.core
    table = read_table(PAYMENTS_HELD_OUT)
    arrays = to_arrays(table, core.features)
    session = ort.InferenceSession(bundle.model, providers=["CPUExecutionProvider"])
    scores = session.run(["score"], {"numeric": arrays.numeric, "codes": arrays.codes})[0]
    rank = ranks(np.asarray(scores), np.array(core.reference.scores))
    fraud = table.column("label").to_numpy() == 1
    assert np.median(rank[fraud]) > 0.95
    assert np.median(rank[~fraud]) < 0.6


def test_training_again_in_another_process_gives_the_same_version_whatever_the_threads(
    bundle: Bundle, tmp_path: Path
) -> None:
    threads = "2" if torch.get_num_threads() == 1 else "1"  # from 1 to 2 differs most
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.training.conftest import train\n"
        "print(train(Path(sys.argv[1])).version)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "again")]
    environment = {**os.environ, "OMP_NUM_THREADS": threads}
    done = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
    assert done.stdout.strip() == bundle.version


def test_the_same_rows_as_csv_under_another_name_give_the_same_version(
    bundle: Bundle, tmp_path: Path
) -> None:
    pa_csv.write_csv(
        pq.read_table(PAYMENTS), tmp_path / "copy.csv", pa_csv.WriteOptions(quoting_style="needed")
    )
    again = train(tmp_path / "out", str(tmp_path / "copy.csv"))
    assert again.manifest.core.data.digest == bundle.manifest.core.data.digest
    assert again.version == bundle.version
    assert again.manifest.source != bundle.manifest.source


@pytest.mark.parametrize(
    ("rows", "anomalies", "normals"),
    [(400, 0, 0), (400, 1, 0), (12, 0, 0), (200, 0, 150), (130, 100, 10)],
)
def test_few_rows_and_few_labels_are_enough(tmp_path: Path, rows: int, anomalies: int, normals: int) -> None:
    rng = np.random.default_rng(0)
    label = [1] * anomalies + [0] * normals + [None] * (rows - anomalies - normals)
    x = rng.normal(size=rows) + np.r_[np.full(anomalies, 8.0), np.zeros(rows - anomalies)]
    columns = {"x": x, "s": rng.choice(["a", "b"], rows), "label": pa.array(label, pa.int8())}
    pq.write_table(pa.table(columns), tmp_path / "few.parquet")
    small = train(tmp_path / "out", str(tmp_path / "few.parquet"))
    assert small.manifest.core.reference.rows > 0
    assert all(np.isfinite(small.manifest.core.reference.scores))


def test_a_held_out_file_is_measured_and_changes_nothing_in_the_model(bundle: Bundle, tmp_path: Path) -> None:
    measured = train(tmp_path / "out", held_out=PAYMENTS_HELD_OUT)
    report = json.loads((measured.path / "report.json").read_bytes())
    assert report["metrics"]["average_precision"] > 0.5
    assert "held-out file" in report["measured"]
    assert measured.model == bundle.model
    assert measured.manifest.core.reference == bundle.manifest.core.reference


def test_a_reference_of_known_normals_calibrates_is_told_and_leaves_nothing_to_review(tmp_path: Path) -> None:
    table = pq.read_table(PAYMENTS_HELD_OUT)
    clean = table.filter(pc.equal(table.column("label"), 0))
    pq.write_table(clean, tmp_path / "clean.parquet")
    trained = train(tmp_path / "out", reference=str(tmp_path / "clean.parquet"), held_out=PAYMENTS_HELD_OUT)
    core = trained.manifest.core
    assert core.reference.known_normal
    assert core.reference.rows == clean.num_rows
    assert core.data.rows == 3_000
    assert trained.manifest.reference_source == str(tmp_path / "clean.parquet")
    assert core.reference.review == ()
    assert not (trained.path / REVIEW).exists()
    report = json.loads((trained.path / "report.json").read_bytes())
    assert report["reference_known_normal"] is True
    assert "calibrated by a sample of rows known to be normal" in report["measured"]
    assert report["metrics"]["false_alert_rate"] == pytest.approx(0.01, abs=0.002), "its own rows are judged"
    page = (trained.path / "report.html").read_text()
    assert "clean.parquet (known to be normal)" in page
    assert "970 known to be normal, for calibration" in page


def test_a_validation_file_chooses_the_epoch_and_is_told(tmp_path: Path) -> None:
    recipe = Recipe(fit=quick("paper", members=1, joint_epochs=5), columns={})
    alone = train(tmp_path / "alone", recipe=recipe)
    chosen = train(tmp_path / "chosen", recipe=recipe, validation=PAYMENTS_HELD_OUT)
    assert chosen.model != alone.model
    assert Path(str(chosen.manifest.validation_source)).name == Path(PAYMENTS_HELD_OUT).name
    assert chosen.manifest.core.data.rows == alone.manifest.core.data.rows, "its rows are no training rows"
    choices = json.loads((chosen.path / "report.json").read_bytes())["choices"]
    assert choices["stopped_by"] == "labelled validation rows"
    assert choices["rows"]["validation"] == len(pq.read_table(PAYMENTS_HELD_OUT))


def test_bad_data_leaves_an_older_bundle_untouched(bundle: Bundle, tmp_path: Path) -> None:
    out = shutil.copytree(bundle.path, tmp_path / "out")
    (tmp_path / "bad.csv").write_text("x,label\n1,2\n")
    with pytest.raises(DataError, match="label column"):
        train(out, str(tmp_path / "bad.csv"))
    assert read_bundle(out).version == bundle.version


def test_a_folder_with_other_files_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match="holds other files"):
        train(tmp_path, str(tmp_path / "not looked for.csv"))


def test_progress_rises_from_nothing_to_all_and_another_seed_gives_another_model(
    bundle: Bundle, tmp_path: Path
) -> None:
    steps: list[tuple[str, float]] = []
    told: list[str] = []
    watcher = Watcher(lambda stage, done: steps.append((stage, done)), lambda schema: None, told.append)
    other = train_bundle(prepare(job(tmp_path / "out", seed=1), watcher), watcher)
    done = [share for _, share in steps]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0.0, 1.0)
    assert list(dict.fromkeys(stage for stage, _ in steps)) == [
        *("read", "fit", "evaluate", "export", "report", "write")
    ]
    assert any("payment_id" in warning for warning in told)
    assert other.version != bundle.version


@pytest.mark.parametrize("config", [quick(), quick("paper", members=1)])
def test_every_stage_of_a_fit_has_its_part_of_the_progress(config: FitConfig) -> None:
    told: list[Progress] = []
    fit(sample()[0], config, seed=0, progress=told.append)
    assert {progress.stage for progress in told} <= set(FIT_STAGES)

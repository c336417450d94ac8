from pathlib import Path

import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pyarrow.parquet as pq

from nearnorm import models
from nearnorm.models.bundle.bundle import read_bundle
from nearnorm.models.conformal import Ranks, default_policy
from nearnorm.models.data.files.read import read_table
from nearnorm.models.data.tables import to_arrays
from nearnorm.training.dataset.known_normal import load_known_normal
from nearnorm.training.dataset.source import resolve
from nearnorm.training.samples import make_payments
from tests.training.conftest import SAMPLES

STARTER = Path(models.__file__).parent / "starter"


def test_the_starter_model_is_a_whole_bundle_of_the_shuttle_sample() -> None:
    core = read_bundle(STARTER).manifest.core
    assert (core.data.rows, core.data.anomalies, core.data.normals) == (29_368, 30, 0)
    assert [f.name for f in core.features.numeric] == [f"f{i}" for i in range(1, 10)]


def test_the_starter_model_scores_its_held_out_rows_as_its_manifest_says() -> None:
    from sklearn.metrics import average_precision_score

    bundle = read_bundle(STARTER)
    table = read_table(str(SAMPLES / "shuttle_held_out.parquet"))
    arrays = to_arrays(table, bundle.manifest.core.features)
    session = ort.InferenceSession(bundle.model, providers=["CPUExecutionProvider"])
    scores = np.asarray(session.run(["score"], {"numeric": arrays.numeric, "codes": arrays.codes})[0])
    measured = average_precision_score(table.column("label").to_numpy(), scores)
    told = bundle.manifest.core.metrics["average_precision"]
    assert told is not None
    assert abs(measured - told) < 0.005
    assert measured > 0.9


def test_the_starter_model_finds_nineteen_of_twenty_held_out_anomalies_at_its_default_budget() -> None:
    bundle = read_bundle(STARTER)
    reference = bundle.manifest.core.reference
    assert reference.known_normal
    table = read_table(str(SAMPLES / "shuttle_held_out.parquet"))
    arrays = to_arrays(table, bundle.manifest.core.features)
    session = ort.InferenceSession(bundle.model, providers=["CPUExecutionProvider"])
    scores = np.asarray(session.run(["score"], {"numeric": arrays.numeric, "codes": arrays.codes})[0])
    _, alerts = Ranks(reference.scores, default_policy(reference.rows)).judge(scores)
    anomalous = table.column("label").to_numpy() == 1
    assert alerts[anomalous].mean() > 0.95
    assert alerts[~anomalous].mean() < 0.013, "1% within the chance of 5,000 reference rows"


def test_beyond_what_the_starter_model_saw_lie_gross_values_and_hardly_a_normal_row() -> None:
    core = read_bundle(STARTER).manifest.core
    assert core.seen is not None
    table = read_table(str(SAMPLES / "shuttle_held_out.parquet"))
    numeric = to_arrays(table, core.features).numeric
    bounds = [core.seen.numeric[f.name] for f in core.features.numeric]
    low, high = (np.array([getattr(b, side) for b in bounds], float) for side in ("low", "high"))
    novel = np.any((numeric < low) | (numeric > high), axis=1)
    assert novel[np.flatnonzero(table.column("label").to_numpy() == 0)].mean() < 0.001
    assert high[3] < 4_000, "f4: training has a few such, where its groups have -4 to 6"


def test_what_the_starter_model_is_retrained_from_lies_beside_the_packages() -> None:
    manifest = read_bundle(STARTER).manifest
    assert manifest.source == "training/samples/shuttle_train.parquet"
    assert manifest.reference_source == "training/samples/shuttle_reference.parquet"
    sample = load_known_normal(resolve(manifest.reference_source), "label", manifest.core.features)
    assert sample.digest == manifest.core.reference.sample


def test_the_shuttle_sample_hides_all_labels_but_thirty_and_no_record_is_in_two_files() -> None:
    train = pq.read_table(SAMPLES / "shuttle_train.parquet")
    held_out = pq.read_table(SAMPLES / "shuttle_held_out.parquet")
    reference = pq.read_table(SAMPLES / "shuttle_reference.parquet")
    names = reference.column_names
    records = pa.concat_tables([part.select(names) for part in (train, held_out, reference)])
    assert records.num_rows == 49_097
    assert records.group_by(names).aggregate([]).num_rows == 49_097
    labels = train.column("label")
    assert labels.drop_null().to_pylist() == [1] * 30
    assert held_out.column("label").null_count == 0
    assert sum(held_out.column("label").to_pylist()) == 1_053


def test_the_payments_sample_is_what_its_generator_makes(tmp_path: Path) -> None:
    make_payments.main(tmp_path)
    for name in ("payments_train.parquet", "payments_held_out.parquet"):
        assert pq.read_table(tmp_path / name).equals(pq.read_table(SAMPLES / name))

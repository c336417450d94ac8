"""A retraining from what a worker writes down to the gate's word, without worker and ledger."""

import json
from pathlib import Path

import msgspec
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nearnorm.models.bundle.bundle import Bundle, read_bundle
from nearnorm.models.data.files.read import read_table
from nearnorm.models.retraining import TrainingRequest, Verdict
from nearnorm.training.dataset.recipe import Recipe
from nearnorm.training.loop.retrain import retrain
from tests.training.conftest import PAYMENTS_HELD_OUT, train
from tests.training.samples import quick


def test_confirmed_anomalies_are_no_excess_of_alerts(bundle: Bundle, tmp_path: Path) -> None:
    table = read_table(PAYMENTS_HELD_OUT)
    truth = table.column("label").to_numpy()
    records = [
        {name: value for name, value in row.items() if isinstance(value, int | float | str)}
        for row in table.drop_columns(["label"]).to_pylist()
    ]
    frauds = [record for record, label in zip(records, truth, strict=True) if label == 1][:10]
    others = [record for record, label in zip(records, truth, strict=True) if label != 1][:10]
    request = TrainingRequest(champion=str(bundle.path), version=bundle.version, budget=0.01)
    (tmp_path / "request.json").write_bytes(msgspec.json.encode(request))
    lines = [json.dumps({"record": record}) for record in frauds + others]
    (tmp_path / "traffic.jsonl").write_text("\n".join(lines))
    labels = [
        {
            "digest": f"{i}",
            "feedback_id": f"{i}",
            "anomaly": True,
            "record": record,
            "probability": 1.0,
            "known": False,
        }
        for i, record in enumerate(frauds)
    ]
    (tmp_path / "labels.jsonl").write_text("\n".join(json.dumps(label) for label in labels))
    result = retrain(tmp_path)
    assert result.accepted, result.reasons
    traffic = result.figures["traffic"]
    assert isinstance(traffic, dict)
    assert traffic["rows"] == 10


def test_a_champion_that_known_normals_calibrated_is_followed_by_one_that_they_calibrate(
    tmp_path: Path,
) -> None:
    table = pq.read_table(PAYMENTS_HELD_OUT)
    clean = table.filter(pc.equal(table.column("label"), 0)).drop_columns(["label"])
    pq.write_table(clean, tmp_path / "clean.parquet")
    champion = train(tmp_path / "champion", reference=str(tmp_path / "clean.parquet"))
    request = TrainingRequest(champion=str(champion.path), version=champion.version, budget=0.01)
    (tmp_path / "request.json").write_bytes(msgspec.json.encode(request))
    (tmp_path / "traffic.jsonl").write_text("")
    found = Verdict("a", "a", True, clean.slice(7, 1).to_pylist()[0], probability=1.0, known=False)
    (tmp_path / "labels.jsonl").write_bytes(msgspec.json.encode(found))
    retrain(tmp_path)
    after = read_bundle(tmp_path / "bundle").manifest
    assert after.core.reference.known_normal
    assert after.core.reference.sample == champion.manifest.core.reference.sample
    assert after.reference_source == champion.manifest.reference_source
    assert after.core.reference.rows == clean.num_rows - 1, "but for the one that proved to be an anomaly"
    assert after.core.data.rows == 3_001


def test_a_retraining_tells_that_it_stops_without_the_validation_rows_of_the_champion(tmp_path: Path) -> None:
    recipe = Recipe(fit=quick("paper", members=1), columns={})
    champion = train(tmp_path / "champion", recipe=recipe, validation=PAYMENTS_HELD_OUT)
    request = TrainingRequest(champion=str(champion.path), version=champion.version, budget=0.01)
    (tmp_path / "request.json").write_bytes(msgspec.json.encode(request))
    (tmp_path / "traffic.jsonl").write_text("")
    fraud = pq.read_table(PAYMENTS_HELD_OUT).drop_columns(["label"]).slice(7, 1).to_pylist()[0]
    found = Verdict("a", "a", True, fraud, probability=1.0, known=False)
    (tmp_path / "labels.jsonl").write_bytes(msgspec.json.encode(found))
    problems = retrain(tmp_path).problems
    assert any("payments_held_out" in problem and "without labels" in problem for problem in problems)
    assert read_bundle(tmp_path / "bundle").manifest.validation_source is None

"""A retraining from what a worker writes down to the gate's word, without worker and ledger."""

import json
from pathlib import Path

import msgspec

from nearnorm.models.bundle import Bundle
from nearnorm.models.retraining import TrainingRequest
from nearnorm.models.tables import read_table
from nearnorm.training.loop.retrain import retrain
from tests.training.conftest import PAYMENTS_HELD_OUT


def test_confirmed_anomalies_are_no_excess_of_alerts(bundle: Bundle, tmp_path: Path) -> None:
    table = read_table(PAYMENTS_HELD_OUT)
    truth = table.column("label").to_numpy()
    records = [
        {name: value for name, value in row.items() if isinstance(value, int | float | str)}
        for row in table.drop_columns(["label"]).to_pylist()
    ]
    frauds = [record for record, label in zip(records, truth, strict=True) if label == 1][:10]
    others = [record for record, label in zip(records, truth, strict=True) if label != 1][:10]
    request = TrainingRequest(champion=str(bundle.path), budget=0.01)
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

"""The loop, from a score to a better model and back, over real processes and HTTP."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from nearnorm.models.store.folder import ModelStore
from tests.journey.loop import ended, serving
from tests.service.running import home_with
from tests.service.waiting import until
from tests.training.conftest import PAYMENTS, PAYMENTS_HELD_OUT, train


def records(label: int, count: int) -> list[dict[str, Any]]:
    """Held-out payments whose truth the test knows, as the analyst does."""
    rows = pq.read_table(PAYMENTS_HELD_OUT).to_pylist()
    found = [{k: v for k, v in row.items() if k != "label"} for row in rows if row["label"] == label]
    return found[:count]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("journey")
    return home_with(folder / "home", train(folder / "payments", PAYMENTS))


def test_labels_make_a_better_model_that_serves_and_can_be_rolled_back(home: Path) -> None:
    with serving(home, audit_rate="1.0", retrain_after="20") as client:
        first = client.get("/readyz").json()["models"][0]["version"]
        bad, good = records(1, 12), records(0, 8)
        scored = client.post("/score", json={"records": bad + good}).json()["results"]
        labels = [
            {"event_id": result["event_id"], "label": "anomaly" if i < len(bad) else "normal"}
            for i, result in enumerate(scored)
        ]
        answer = client.post("/feedback", json={"labels": labels}).json()
        assert answer["retraining"]["new_labels"] == 20
        job_id = answer["retraining"]["job_id"]

        with client.stream("GET", f"/jobs/{job_id}/events") as stream:
            told = [line for line in stream.iter_lines() if line.startswith("data: ")]
        job = ended(client, job_id)
        assert job["state"] == "succeeded", job
        assert job["activated"]
        assert job["snapshot"]["digest"]
        assert any("lies above a typical one" in reason for reason in job["reasons"])
        assert any('"stage": "fit"' in line for line in told)

        until(lambda: client.get("/readyz").json()["models"][0]["version"] == job["version"], 5)
        receipt = client.get(f"/feedback/{answer['receipts'][0]['feedback_id']}").json()
        assert receipt["status"] == "learned"
        assert receipt["job_id"] == job_id
        assert receipt["model_version"] == job["version"] != first
        assert receipt["score_before"] == pytest.approx(scored[0]["score"], rel=1e-3)
        again = client.post("/score", json={"records": bad[:1]}).json()
        assert again["model"]["version"] == job["version"]
        assert receipt["score_after"] == pytest.approx(again["results"][0]["score"], rel=1e-3)
        assert receipt["percentile_before"] == scored[0]["percentile"]
        assert receipt["anomaly_before"] is scored[0]["anomaly"]
        assert receipt["percentile_after"] == again["results"][0]["percentile"]
        assert 0 <= receipt["score_held_out"] <= 1
        receipts = [client.get(f"/feedback/{one['feedback_id']}").json() for one in answer["receipts"]]
        for when in ("after", "held_out"):  # the verdict is the percentile's, at one threshold
            alerts, others = (
                [one[f"percentile_{when}"] for one in receipts if one[f"anomaly_{when}"] is alert]
                for alert in (True, False)
            )
            assert max(others, default=0) < min(alerts, default=101)

        assert client.post("/models/rollback").json()["version"] == first
        assert client.post("/score", json={"records": bad[:1]}).json()["model"]["version"] == first
        assert [entry.by for entry in ModelStore(home / "models").activations()][1:] == [
            f"job:{job_id}",
            "anonymous",
        ]

"""The loop, from a score to a better model and back, over real processes and HTTP."""

from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from nearnorm import Client
from nearnorm.client.answers import LabelItem
from nearnorm.models.store.folder import ModelStore
from tests.journey.loop import LONGEST_JOB, running, serves
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
    with running(home, audit_rate="1.0", retrain_after="20") as url, Client(url) as client:
        first = client.ready()["models"][0]["version"]
        bad, good = records(1, 12), records(0, 8)
        scored = client.score(bad + good)
        labels = [
            LabelItem(event_id=score["event_id"], label="anomaly" if i < len(bad) else "normal")
            for i, score in enumerate(scored)
        ]
        answer = client.label(labels)
        assert answer["retraining"]["new_labels"] == 20
        job_id = answer["retraining"]["job_id"]

        with httpx.stream("GET", f"{url}/jobs/{job_id}/events", timeout=60) as stream:
            told = [line for line in stream.iter_lines() if line.startswith("data: ")]
        job = client.wait(job_id, timeout=LONGEST_JOB)
        assert job["state"] == "succeeded", job
        assert job["activated"]
        assert job["snapshot"]["digest"]
        assert any("lies above a typical one" in reason for reason in job["reasons"])
        assert any('"stage": "fit"' in line for line in told)

        until(lambda: serves(client, job["version"]), 5)
        receipts = [client.receipt(one["feedback_id"]) for one in answer["receipts"]]
        receipt = receipts[0]
        assert receipt["status"] == "learned"
        assert receipt["job_id"] == job_id
        assert receipt["model_version"] == job["version"] != first
        assert receipt["score_before"] == pytest.approx(scored[0]["score"], rel=1e-3)
        again = client.score(bad[:1])
        assert again.version == job["version"]
        assert receipt["score_after"] == pytest.approx(again[0]["score"], rel=1e-3)
        assert receipt["percentile_before"] == scored[0]["percentile"]
        assert receipt["anomaly_before"] is scored[0]["anomaly"]
        assert receipt["percentile_after"] == again[0]["percentile"]
        assert 0 <= receipt["score_held_out"] <= 1
        for when in ("after", "held_out"):  # the verdict is the percentile's, at one threshold
            told_of: list[dict[str, Any]] = [dict(one) for one in receipts]
            alerts, others = (
                [one[f"percentile_{when}"] for one in told_of if one[f"anomaly_{when}"] is alert]
                for alert in (True, False)
            )
            assert max(others, default=0) < min(alerts, default=101)

        assert client.rollback()["version"] == first
        assert client.score(bad[:1]).version == first
        assert [entry.by for entry in ModelStore(home / "models").activations()][1:] == [
            f"job:{job_id}",
            "anonymous",
        ]

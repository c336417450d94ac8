"""A person's way through, over HTTP against a real process: score, see the event, label it, see the verdict,
set a budget; and all of it still holds after the process was killed."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from nearnorm import Client
from nearnorm.client import UnauthorizedError
from nearnorm.client.answers import LabelItem, ScoredRow
from tests.journey.loop import NEARNORM, example_record, is_ready, running, serving
from tests.ports import free_port
from tests.service.waiting import until


def strangest(client: Client) -> dict[str, Any]:
    """A record that the starter model finds anomalous: its own example, with numbers from elsewhere."""
    sample = example_record(client)
    tried = [
        {name: value * factor if type(value) is float else value for name, value in sample.items()}
        for factor in (-1e6, -1e3, -10.0, 10.0, 1e3, 1e6)
    ]
    scores = client.score(tried)
    return max(zip(tried, scores, strict=True), key=lambda pair: pair[1]["percentile"])[0]


def score(client: Client, record: dict[str, Any], id_: str) -> ScoredRow:
    return client.score([record], ids=[id_])[0]


def test_score_see_the_event_label_it_score_again_see_the_verdict_set_a_budget(tmp_path: Path) -> None:
    with serving(tmp_path, worker="off", audit_rate="1") as client:
        record = strangest(client)
        event_id = score(client, record, "tx-1")["event_id"]

        def queued() -> bool:
            items = client.queue(limit=50)
            return any(item["event_id"] == event_id or item["record"] == record for item in items)

        until(queued, 5)
        label = LabelItem({"event_id": event_id, "label": "anomaly", "analyst": "ann", "class": "fraud"})
        feedback_id = client.label(label, idempotency_key="1")["receipts"][0]["feedback_id"]
        again = score(client, record, "tx-2")
        assert again["anomaly"] is True
        assert again["matched_feedback"] == {"feedback_id": feedback_id, "label": "anomaly"}
        assert not queued()
        assert client.receipt(feedback_id)["record_id"] == "tx-1"

        changed = client.set_policy("5%")
        assert changed["policy"]["budget"] == "5%"
        assert changed["previous"]["expected_alert_rate"] < changed["policy"]["expected_alert_rate"]
        assert client.set_policy("40 a day")["policy"]["promised"]["alerts_a_day"] == 40
        assert client.undo_policy()["policy"]["budget"] == "5%"
        actions = [entry["action"] for entry in client.audit()]
        assert actions == ["policy.undo", "policy.put", "policy.put", "label"]

    with serving(tmp_path, worker="off") as client:
        assert score(client, record, "tx-3")["matched_feedback"]["feedback_id"] == feedback_id
        assert client.policy()["policy"]["budget"] == "5%"


def test_keys_guard_a_service_that_others_can_reach(tmp_path: Path) -> None:
    environment = {**os.environ, "NEARNORM_HOME": str(tmp_path), "NEARNORM_WORKER": "off"}

    def nearnorm(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [NEARNORM, *words], env=environment, capture_output=True, text=True, check=False, timeout=60
        )

    refused = nearnorm("serve", "--host", "0.0.0.0", "--port", "0")  # noqa: S104
    assert refused.returncode == 2
    assert "NEARNORM_ALLOW_ANONYMOUS=true" in refused.stderr
    secret = nearnorm("keys", "create", "ops", "--role", "operate").stdout.strip()
    with running(tmp_path, worker="off", host="0.0.0.0") as url:  # noqa: S104
        with Client(url) as stranger, pytest.raises(UnauthorizedError):
            stranger.policy()
        with Client(url, api_key=secret) as client:
            assert client.policy()["policy"]["budget"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_label_is_there_after_the_process_ended_in_any_way(tmp_path: Path, how: signal.Signals) -> None:
    port = free_port()
    environment = {**os.environ, "NEARNORM_HOME": str(tmp_path), "NEARNORM_WORKER": "off"}
    process = subprocess.Popen(
        [NEARNORM, "serve", "--port", str(port)], env=environment, stderr=subprocess.DEVNULL
    )
    with Client(f"http://127.0.0.1:{port}", patience=0) as client:
        until(lambda: is_ready(client), 60)
        record = strangest(client)
        feedback_id = client.label({"record": record, "label": "normal"})["receipts"][0]["feedback_id"]
        process.send_signal(how)
        process.wait(60)
    time.sleep(0.1)
    with serving(tmp_path, worker="off") as client:
        assert client.receipt(feedback_id)["status"] == "waiting"
        assert score(client, record, "again")["matched_feedback"]["label"] == "normal"

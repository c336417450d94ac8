"""A person's way through, over HTTP against a real process: score, see the event, label it, see the verdict,
set a budget; and all of it still holds after the process was killed."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.journey.loop import NEARNORM, serving
from tests.service.waiting import until


def strangest(client: httpx.Client) -> dict[str, Any]:
    """A record that the starter model finds anomalous: its own example, with numbers from elsewhere."""
    document = client.get("/openapi.json").json()
    body = document["paths"]["/score"]["post"]["requestBody"]["content"]["application/json"]
    sample: dict[str, Any] = body["examples"]["records"]["value"]["records"][0]
    tried = [
        {name: value * factor if type(value) is float else value for name, value in sample.items()}
        for factor in (-1e6, -1e3, -10.0, 10.0, 1e3, 1e6)
    ]
    results = client.post("/score", json={"records": tried}).json()["results"]
    return max(zip(tried, results, strict=True), key=lambda pair: float(pair[1]["percentile"]))[0]


def score(client: httpx.Client, record: dict[str, Any], id_: str) -> dict[str, Any]:
    answer = client.post("/score", json={"records": [record], "ids": [id_]})
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()["results"][0]
    return result


def test_score_see_the_event_label_it_score_again_see_the_verdict_set_a_budget(tmp_path: Path) -> None:
    with serving(tmp_path, worker="off", audit_rate="1") as client:
        record = strangest(client)
        event_id = score(client, record, "tx-1")["event_id"]

        def queued() -> bool:
            items = client.get("/queue", params={"limit": 50}).json()["queue"]
            return any(item["event_id"] == event_id or item["record"] == record for item in items)

        until(queued, 5)
        label = {"event_id": event_id, "label": "anomaly", "analyst": "ann", "class": "fraud"}
        taken = client.post("/feedback", json={"labels": [label]}, headers={"Idempotency-Key": "1"})
        assert taken.status_code == 201
        feedback_id = taken.json()["receipts"][0]["feedback_id"]
        again = score(client, record, "tx-2")
        assert again["anomaly"] is True
        assert again["matched_feedback"] == {"feedback_id": feedback_id, "label": "anomaly"}
        assert not queued()
        assert client.get(f"/feedback/{feedback_id}").json()["record_id"] == "tx-1"

        changed = client.put("/policy", json={"budget": "5%"}).json()
        assert changed["policy"]["budget"] == "5%"
        assert changed["previous"]["expected_alert_rate"] < changed["policy"]["expected_alert_rate"]
        per_day = client.put("/policy", json={"budget": "40 a day"}).json()
        assert per_day["policy"]["promised"]["alerts_a_day"] == 40
        assert client.post("/policy/undo").json()["policy"]["budget"] == "5%"
        actions = [entry["action"] for entry in client.get("/audit").json()["audit"]]
        assert actions == ["policy.undo", "policy.put", "policy.put", "label"]

    with serving(tmp_path, worker="off") as client:
        assert score(client, record, "tx-3")["matched_feedback"]["feedback_id"] == feedback_id
        assert client.get("/policy").json()["policy"]["budget"] == "5%"


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
    with serving(tmp_path, worker="off", host="0.0.0.0") as client:  # noqa: S104
        assert client.get("/policy").status_code == 401
        assert client.get("/policy", headers={"Authorization": f"Bearer {secret}"}).status_code == 200


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_label_is_there_after_the_process_ended_in_any_way(tmp_path: Path, how: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    environment = {**os.environ, "NEARNORM_HOME": str(tmp_path), "NEARNORM_WORKER": "off"}
    process = subprocess.Popen(
        [NEARNORM, "serve", "--port", str(port)], env=environment, stderr=subprocess.DEVNULL
    )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:

        def ready() -> bool:
            try:
                return client.get("/readyz").status_code == 200
            except httpx.TransportError:
                return False

        until(ready, 60)
        record = strangest(client)
        taken = client.post("/feedback", json={"labels": [{"record": record, "label": "normal"}]})
        assert taken.status_code == 201
        process.send_signal(how)
        process.wait(60)
    time.sleep(0.1)
    with serving(tmp_path, worker="off") as client:
        feedback_id = taken.json()["receipts"][0]["feedback_id"]
        assert client.get(f"/feedback/{feedback_id}").json()["status"] == "waiting"
        assert score(client, record, "again")["matched_feedback"]["label"] == "normal"

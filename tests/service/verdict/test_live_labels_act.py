"""Verdicts on live alerts move the threshold of a share of normal, within a bound, on both databases."""

from typing import Any

import httpx
import pytest

from tests.service.asking import RECORD, label, stored
from tests.service.waiting import logged, until

BUDGET = "5%"


def policy(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/policy").json()["policy"]
    return found


@pytest.fixture
def alerts(client: httpx.Client) -> list[str]:
    """Of traffic a twentieth of which is strange: the events of its alerts."""
    assert client.put("/policy", json={"budget": BUDGET, "alert_on_novel": False}).status_code == 200
    records = [RECORD | {"amount": 50.0 + i / 1_000} for i in range(2_000)]
    records += [RECORD | {"amount": 100.0 + 3 * i} for i in range(100)]
    results = client.post("/score", json={"records": records}).json()["results"]
    until(lambda: logged(client))
    return [result["event_id"] for result in results if result["anomaly"]]


def says(events: list[str], verdict: str) -> list[dict[str, Any]]:
    return [{"event_id": event, "label": verdict} for event in events]


def usual(client: httpx.Client) -> dict[str, Any]:
    """A normal label that does not name an alert."""
    (result,) = client.post("/score", json={"records": [RECORD]}).json()["results"]
    until(lambda: logged(client))
    return {"event_id": result["event_id"], "label": "normal"}


def test_anomalies_among_alerts_lower_the_threshold_and_at_most_double_what_is_flagged(
    client: httpx.Client, alerts: list[str]
) -> None:
    before = policy(client)
    assert before["promised"]["assumes"] == "a clean reference"
    stored(label(client, *says(alerts[:60:2], "anomaly"), usual(client)))
    after = policy(client)
    assert after["threshold"] < before["threshold"]
    assert before["share"] < after["share"] <= 2 * before["share"] + 1e-6
    assert after["promised"] == {"share_of_normal": 0.05, "labelled_alerts": 30}
    stored(label(client, *says(alerts[:60:2], "normal")))
    assert policy(client)["threshold"] == before["threshold"]


def test_few_labels_and_labels_of_anomalies_alone_change_nothing(
    client: httpx.Client, alerts: list[str]
) -> None:
    before = policy(client)["threshold"]
    stored(label(client, *says(alerts[:9], "anomaly"), usual(client)))
    assert policy(client)["threshold"] == before
    stored(label(client, *says(alerts[9:], "anomaly")))
    assert policy(client)["threshold"] == before


def test_what_a_quarantined_analyst_said_does_not_move_the_threshold(
    client: httpx.Client, alerts: list[str]
) -> None:
    before = policy(client)["threshold"]
    eve = [{**said, "analyst": "eve"} for said in says(alerts[:60:2], "anomaly")]
    stored(label(client, *eve, usual(client)))
    assert policy(client)["threshold"] < before
    assert client.post("/analysts/eve/quarantine", json={"why": "a test"}).status_code == 200
    assert policy(client)["threshold"] == before

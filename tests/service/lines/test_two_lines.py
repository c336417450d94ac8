"""Two lines side by side share the records' shape and nothing else: what one hears, the other never does."""

import contextlib
from typing import Any

import httpx

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.bundle.review import read_review
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.feedback import reference_rows
from nearnorm.service.settings import Settings
from tests.service.asking import RECORD, STRANGE, problem
from tests.service.waiting import until

OTHER = "payments-fr"


def scored(client: httpx.Client, model: str, *records: dict[str, Any]) -> list[dict[str, Any]]:
    answer = client.post("/score", json={"model": model, "records": list(records)})
    assert answer.status_code == 200, answer.text
    assert answer.json()["model"]["name"] == model
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


def asked(client: httpx.Client, path: str, model: str) -> dict[str, Any]:
    answer = client.get(path, params={"model": model})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def said(client: httpx.Client, model: str, record: dict[str, Any], label: str = "normal") -> dict[str, Any]:
    body = {"model": model, "labels": [{"record": record, "label": label, "analyst": "mei"}]}
    answer = client.post("/feedback", json=body)
    assert answer.status_code == 201, answer.text
    stored: dict[str, Any] = answer.json()
    return stored


def test_a_label_acts_on_the_records_of_its_own_line_alone(client: httpx.Client) -> None:
    said(client, OTHER, RECORD, "anomaly")
    (here,), (there,) = scored(client, "default", RECORD), scored(client, OTHER, RECORD)
    assert there["matched_feedback"]["label"] == "anomaly"
    assert "matched_feedback" not in here
    assert asked(client, "/feedback", "default")["receipts"] == []
    assert len(asked(client, "/feedback", OTHER)["receipts"]) == 1


def test_events_queue_and_claims_are_those_of_the_line_that_scored(client: httpx.Client) -> None:
    (event,) = scored(client, OTHER, STRANGE)
    until(lambda: asked(client, "/events", OTHER)["events"])
    assert asked(client, "/events", "default")["events"] == []
    assert event["event_id"] in {item["event_id"] for item in asked(client, "/queue", OTHER)["queue"]}
    assert event["event_id"] not in {item["event_id"] for item in asked(client, "/queue", "default")["queue"]}
    problem(client.get(f"/events/{event['event_id']}"), 404, "not-found")
    claimed = client.post("/claims", json={"model": OTHER, "analyst": "mei"}).json()["claims"]
    assert event["event_id"] in {one["event_id"] for one in claimed}
    assert asked(client, "/claims?analyst=mei", "default")["claims"] == []


def test_a_policy_and_its_undo_are_of_one_line(client: httpx.Client) -> None:
    before = asked(client, "/policy", "default")["policy"]["budget"]
    client.put("/policy", json={"model": OTHER, "budget": "5%"}).raise_for_status()
    assert asked(client, "/policy", OTHER)["policy"]["budget"] == "5%"
    assert asked(client, "/policy", "default")["policy"]["budget"] == before
    problem(client.post("/policy/undo", json={}), 409, "conflict")


def test_a_job_of_one_line_neither_waits_for_nor_stands_for_that_of_another(client: httpx.Client) -> None:
    mine, theirs = (client.post("/jobs", json={"model": model}).json() for model in ("default", OTHER))
    assert mine["job_id"] != theirs["job_id"]
    assert [job["job_id"] for job in client.get("/jobs", params={"model": OTHER}).json()["jobs"]] == [
        theirs["job_id"]
    ]


def test_traffic_is_counted_by_line(client: httpx.Client) -> None:
    scored(client, OTHER, RECORD, RECORD, RECORD)
    assert asked(client, "/overview/figures", OTHER)["process"]["scored"] == 3
    assert asked(client, "/overview/figures", "default")["process"]["scored"] == 0


def test_a_verdict_on_a_row_of_the_reference_moves_the_percentiles_of_its_line_alone(
    client: httpx.Client, store: ModelStore, settings: Settings, payments: Bundle
) -> None:
    with contextlib.closing(Ledger.at(None, settings.home)) as ledger, ledger.write() as connection:
        reference_rows.put(connection, payments.version, read_review(payments.path, payments.manifest.core))
    store.activate(payments.version, by="test", model=OTHER)  # one version in two lines
    until(lambda: asked(client, "/drift", OTHER)["model"]["version"] == payments.version)
    before, (top, *_) = scored(client, "default", RECORD), asked(client, "/queue", OTHER)["queue"]
    assert scored(client, OTHER, RECORD)[0]["percentile"] == before[0]["percentile"]
    said(client, OTHER, top["record"], "anomaly")
    assert scored(client, OTHER, RECORD)[0]["percentile"] > before[0]["percentile"]
    assert scored(client, "default", RECORD)[0]["percentile"] == before[0]["percentile"]
    assert asked(client, "/queue", OTHER)["queue"][0]["event_id"] != top["event_id"]
    assert asked(client, "/queue", "default")["queue"][0]["event_id"] == top["event_id"]


def test_a_rollback_takes_back_the_champion_of_its_line_alone(
    client: httpx.Client, store: ModelStore, payments: Bundle, french: Bundle
) -> None:
    sent = {"model": OTHER, "reason": "try"}
    client.post(f"/models/{payments.version}/activate", json=sent).raise_for_status()
    client.post("/models/rollback", json={"model": OTHER}).raise_for_status()
    serving = {model["name"]: model["version"] for model in client.get("/readyz").json()["models"]}
    assert serving == {"default": payments.version, OTHER: french.version}
    problem(client.post("/models/rollback"), 409, "conflict")


def test_a_version_of_another_line_is_activated_by_naming_one(
    client: httpx.Client, french: Bundle, payments: Bundle
) -> None:
    refused = problem(client.post(f"/models/{french.version}/activate"), 409, "conflict")
    assert refused["field"] == "model"
    assert f"'{OTHER}'" in refused["detail"]
    client.post(f"/models/{french.version}/activate", json={"model": "default"}).raise_for_status()
    refused = problem(client.post(f"/models/{french.version}/activate"), 409, "conflict")
    assert f"'default' and '{OTHER}'" in refused["detail"]
    client.post(f"/models/{payments.version}/activate").raise_for_status()


def test_a_new_line_has_a_name_that_no_pattern_and_no_list_could_mean(
    client: httpx.Client, french: Bundle
) -> None:
    for name in ("", "a*", "a,b", "x" * 81, "-a"):
        refused = client.post(f"/models/{french.version}/activate", json={"model": name})
        assert problem(refused, 422, "invalid-request")["field"] == "model"

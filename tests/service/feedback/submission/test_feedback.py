"""POST /feedback and its receipts over HTTP, on both databases: the contract, and every way to miss it."""

import json
from typing import Any

import httpx
import pytest

from tests.service.asking import RECORD, STRANGE, label, mistakes, problem, score, stored


def test_what_is_kept_has_an_event_id_and_can_be_labelled_at_once(client: httpx.Client) -> None:
    event_id = score(client, STRANGE, "tx-1")["event_id"]  # still in the writer's queue
    answer = label(client, {"event_id": event_id, "label": "anomaly", "analyst": "ann", "class": "fraud"})
    assert answer.json()["retraining"] == {"new_labels": 1, "triggers_at": 20}
    receipt = client.get(f"/feedback/{stored(answer)[0]}").json()
    assert receipt["status"] == "waiting"
    assert receipt["label"] == "anomaly"
    assert receipt["analyst"] == "ann"
    assert receipt["event_id"] == event_id
    assert receipt["record_id"] == "tx-1"
    assert receipt["score_before"] > 0
    assert not {"job_id", "model_version", "score_after", "score_held_out"} & receipt.keys()


def test_a_label_acts_in_the_next_score(client: httpx.Client) -> None:
    missed = score(client, RECORD)
    assert missed["anomaly"] is False
    feedback_id = stored(label(client, {"record": RECORD, "label": "anomaly"}))[0]
    result = score(client, RECORD | {"epoch": 1700000123.0, "new device": 0})  # equal after coercion
    assert result["anomaly"] is True
    assert result["matched_feedback"] == {"feedback_id": feedback_id, "label": "anomaly"}
    assert "matched_feedback" not in score(client, RECORD | {"amount": 61.6})


def test_columns_tell_of_events_and_matches_too(client: httpx.Client) -> None:
    feedback_id = stored(label(client, {"record": RECORD, "label": "anomaly"}))[0]
    columns = {name: [STRANGE[name], RECORD[name]] for name in RECORD}
    results = client.post("/score", json={"columns": columns}).json()["results"]
    assert results["anomaly"] == [True, True]
    assert all(results["event_id"])
    assert results["matched_feedback"] == [None, {"feedback_id": feedback_id, "label": "anomaly"}]


def test_rows_with_an_error_do_not_shift_what_is_told_of_the_others(client: httpx.Client) -> None:
    label(client, {"record": RECORD, "label": "anomaly"})
    rows = client.post("/score", json={"records": [{"amount": "x"}, RECORD], "ids": ["bad", "good"]}).json()
    assert "error" in rows["results"][0]
    assert rows["results"][1]["matched_feedback"]["label"] == "anomaly"
    feedback_id = stored(label(client, {"record_id": "good", "label": "normal"}))[0]
    assert client.get(f"/feedback/{feedback_id}").json()["event_id"] == rows["results"][1]["event_id"]


def test_categories_that_training_never_saw_are_told_apart(client: httpx.Client) -> None:
    label(client, {"record": RECORD | {"country": "XA"}, "label": "anomaly"})
    assert "matched_feedback" in score(client, RECORD | {"country": "XA"})
    assert "matched_feedback" not in score(client, RECORD | {"country": "XB"})


def test_the_newest_word_of_an_analyst_counts(client: httpx.Client) -> None:
    first = stored(label(client, {"record": RECORD, "label": "anomaly", "analyst": "ann"}))[0]
    second = stored(label(client, {"record": RECORD, "label": "normal", "analyst": "ann"}))[0]
    assert score(client, RECORD)["matched_feedback"] == {"feedback_id": second, "label": "normal"}
    assert client.get(f"/feedback/{first}").json()["status"] == "superseded"


def test_a_conflict_between_analysts_is_reported_and_decides_nothing(client: httpx.Client) -> None:
    first = stored(label(client, {"record": RECORD, "label": "anomaly", "analyst": "ann"}))[0]
    answer = label(client, {"record": RECORD, "label": "normal", "analyst": "bob"})
    second = stored(answer)[0]
    assert answer.json()["receipts"][0]["conflicts_with"] == [first]
    assert client.get(f"/feedback/{first}").json()["conflicts_with"] == [second]
    result = score(client, RECORD)
    assert result["matched_feedback"]["label"] == "conflict"
    assert result["anomaly"] is False


def test_a_retraction_takes_a_label_back(client: httpx.Client) -> None:
    first = stored(label(client, {"record": RECORD, "label": "anomaly", "analyst": "ann"}))[0]
    back = stored(label(client, {"retract": first, "analyst": "bob"}))[0]
    assert "matched_feedback" not in score(client, RECORD)
    assert client.get(f"/feedback/{first}").json()["status"] == "retracted"
    assert client.get(f"/feedback/{back}").json()["retracts"] == first
    assert mistakes(label(client, {"retract": first})) == [(0, "already-retracted", "retract")]


def test_a_retraction_does_not_bring_back_what_was_corrected(client: httpx.Client) -> None:
    label(client, {"record": RECORD, "label": "anomaly", "analyst": "ann"})
    second = stored(label(client, {"record": RECORD, "label": "normal", "analyst": "ann"}))[0]
    label(client, {"retract": second, "analyst": "ann"})
    assert "matched_feedback" not in score(client, RECORD)


def test_the_same_key_again_is_answered_again_and_stored_once(client: httpx.Client) -> None:
    item = {"record": RECORD, "label": "anomaly"}
    first = label(client, item, key="k")
    again = label(client, item, key="k")
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert client.get("/analysts").json()["analysts"][0]["labels"] == 1
    problem(label(client, item | {"label": "normal"}, key="k"), 409, "conflict")


def test_a_key_of_a_request_that_was_refused_is_free(client: httpx.Client) -> None:
    mistakes(label(client, {"record": RECORD, "label": "perhaps"}, key="k"))
    stored(label(client, {"record": RECORD, "label": "anomaly"}, key="k"))


BAD: list[tuple[dict[str, Any] | str | int, str, str | None]] = [
    ("not an object", "invalid-label", None),
    (7, "invalid-label", None),
    ({}, "invalid-label", None),
    ({"record": RECORD}, "invalid-label", "label"),
    ({"record": RECORD, "label": "fraud"}, "invalid-label", "label"),
    ({"record": RECORD, "label": "anomaly", "event_id": "x"}, "invalid-label", None),
    ({"record": RECORD, "label": "anomaly", "colour": "red"}, "invalid-label", None),
    ({"record": RECORD, "label": "anomaly", "comment": "x" * 4001}, "invalid-label", "comment"),
    ({"record": RECORD, "label": "anomaly", "analyst": ""}, "invalid-label", "analyst"),
    ({"record": RECORD, "label": "anomaly", "analyst": "a\0b"}, "invalid-label", "analyst"),
    ({"record": RECORD, "label": "anomaly", "analyst": 7}, "invalid-label", "analyst"),
    ({"record": RECORD | {"amount": "much"}, "label": "anomaly"}, "invalid-record", "record.amount"),
    ({"record": {"epoch": 1}, "label": "anomaly"}, "invalid-record", "record.amount"),
    ({"record": [1], "label": "anomaly"}, "invalid-label", "record"),
    ({"event_id": "01JUNKNOWN", "label": "anomaly"}, "unknown-event", "event_id"),
    ({"record_id": "nobody", "label": "anomaly"}, "unknown-event", "record_id"),
    ({"record_id": "a\0b", "label": "anomaly"}, "invalid-label", "record_id"),
    ({"retract": "nothing"}, "unknown-feedback", "retract"),
    ({"retract": "x", "label": "anomaly"}, "invalid-label", "retract"),
]


def test_every_bad_item_is_named_and_nothing_is_stored(client: httpx.Client) -> None:
    items = [item for item, _, _ in BAD]
    found = mistakes(label(client, {"record": RECORD, "label": "anomaly"}, *items))
    assert found == [(i + 1, kind, field) for i, (_, kind, field) in enumerate(BAD)]
    assert "matched_feedback" not in score(client, RECORD)
    assert label(client, {"record": STRANGE, "label": "anomaly"}).json()["retraining"]["new_labels"] == 1


def test_a_request_that_contradicts_itself_is_refused(client: httpx.Client) -> None:
    both = [{"record": RECORD, "label": word, "analyst": "ann"} for word in ("anomaly", "normal")]
    assert mistakes(label(client, *both)) == [(1, "contradiction", "label")]
    assert "matched_feedback" not in score(client, RECORD)


@pytest.mark.parametrize(
    ("body", "status", "name"),
    [
        (b"", 400, "malformed-body"),
        (b"{", 400, "malformed-body"),
        (b'{"labels": [{"comment": "\\ud800"}]}', 400, "malformed-body"),
        (b"\xff", 400, "malformed-body"),
        (b"[]", 422, "invalid-request"),
        (b"{}", 422, "invalid-request"),
        (b'{"labels": []}', 422, "invalid-request"),
        (b'{"labels": [], "colour": 1}', 422, "invalid-request"),
        (b'{"labels": [' + b",".join([b"{}"] * 1001) + b"]}", 422, "invalid-request"),
        (b'{"model": "other", "labels": [{}]}', 404, "unknown-model"),
    ],
)
def test_a_body_that_is_no_request_is_refused(
    client: httpx.Client, body: bytes, status: int, name: str
) -> None:
    problem(
        client.post("/feedback", content=body, headers={"Content-Type": "application/json"}), status, name
    )


def test_an_idempotency_key_has_bounds(client: httpx.Client) -> None:
    body = json.dumps({"labels": [{"record": RECORD, "label": "anomaly"}]})
    for key in ("", "x" * 256):
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        found = client.post("/feedback", content=body, headers=headers)
        assert problem(found, 422, "invalid-request")["field"] == "Idempotency-Key"


def test_feedback_that_was_never_stored_is_not_found(client: httpx.Client) -> None:
    problem(client.get("/feedback/nothing"), 404, "not-found")
    problem(client.get("/feedback/a%00b"), 404, "not-found")

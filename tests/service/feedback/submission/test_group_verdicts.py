"""POST /feedback/groups: a verdict on many records, one piece of evidence, undone as one. Both databases."""

from typing import Any

import httpx
import pytest

from nearnorm.service.app import create_app
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables import snapshot
from nearnorm.service.settings import Settings
from tests.service.asking import STRANGE, label, mistakes, problem, score, stored
from tests.service.running import serving


def kept(client: httpx.Client, count: int) -> list[str]:
    """Events of so many different strange records."""
    records = [STRANGE | {"amount": 900.0 + i} for i in range(count)]
    results = client.post("/score", json={"records": records}).json()["results"]
    return [result["event_id"] for result in results]


def say(client: httpx.Client, ids: list[str], key: str | None = None, **more: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    body = {"event_ids": ids, "label": "anomaly"} | more
    return client.post("/feedback/groups", json=body, headers=headers)


def test_all_records_get_the_label_and_their_receipts_name_the_group(client: httpx.Client) -> None:
    ids = kept(client, 5)
    answer = say(client, [*ids, ids[0]], analyst="ann", comment="one wave")
    receipts = [client.get(f"/feedback/{id_}").json() for id_ in stored(answer)]
    assert [receipt["event_id"] for receipt in receipts] == ids
    assert {receipt["group"] for receipt in receipts} == {answer.json()["group"]}
    assert {receipt["analyst"] for receipt in receipts} == {"ann"}
    assert score(client, STRANGE | {"amount": 904.0})["matched_feedback"]["label"] == "anomaly"


def test_a_group_counts_once_towards_the_next_job(client: httpx.Client) -> None:
    ids = kept(client, 30)
    assert say(client, ids[:25]).json()["retraining"] == {"new_labels": 1, "triggers_at": 20}
    assert say(client, ids[25:]).json()["retraining"] == {"new_labels": 2, "triggers_at": 20}
    one = label(client, {"event_id": ids[0], "label": "anomaly"})
    assert one.json()["retraining"]["new_labels"] == 3  # said of the record alone, it is word of its own


def test_training_is_told_which_verdicts_are_one(client: httpx.Client, ledger: Ledger) -> None:
    ids = kept(client, 3)
    group = say(client, ids[:2]).json()["group"]
    stored(label(client, {"event_id": ids[2], "label": "anomaly"}))
    with ledger.read() as connection:
        lines = snapshot.read(connection, "default", "v", 10).verdicts
    assert sum(f'"group":"{group}"' in line for line in lines) == 2
    assert sum('"group":null' in line for line in lines) == 1


def test_it_is_taken_back_as_one_but_for_what_was_taken_back_before(client: httpx.Client) -> None:
    ids = kept(client, 4)
    answer = say(client, ids)
    group, (first, *_) = answer.json()["group"], stored(answer)
    stored(label(client, {"retract": first}))
    undone = client.post("/feedback/groups", json={"retract_group": group})
    assert len(stored(undone)) == 3
    assert undone.json()["retraining"]["new_labels"] == 0
    assert "matched_feedback" not in score(client, STRANGE | {"amount": 900.0})
    again = problem(client.post("/feedback/groups", json={"retract_group": group}), 422, "invalid-request")
    assert again["field"] == "retract_group"


def test_a_preview_tells_and_stores_nothing(client: httpx.Client) -> None:
    ids = kept(client, 4)
    answer = say(client, ids, preview=True)
    assert answer.status_code == 200
    assert answer.json()["preview"]["records"] == 4
    assert answer.json()["preview"]["retraining"]["left"] == 19
    assert "matched_feedback" not in score(client, STRANGE | {"amount": 900.0})
    group = say(client, ids).json()["group"]
    undo = {"retract_group": group, "preview": True}
    assert client.post("/feedback/groups", json=undo).json()["preview"]["records"] == 4
    assert "matched_feedback" in score(client, STRANGE | {"amount": 900.0})


def test_a_request_sent_again_is_one_verdict(client: httpx.Client) -> None:
    ids = kept(client, 3)
    first, again = say(client, ids, key="k"), say(client, ids, key="k")
    assert first.json() == again.json()
    problem(say(client, ids[:2], key="k"), 409, "conflict")
    group = {"retract_group": first.json()["group"]}
    undone = [client.post("/feedback/groups", json=group, headers={"Idempotency-Key": "u"}) for _ in "12"]
    assert undone[0].json() == undone[1].json()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "event_ids"),
        ({"event_ids": []}, "event_ids"),
        ({"event_ids": ["x"] * 1001, "label": "normal"}, "event_ids"),
        ({"event_ids": ["x"]}, "label"),
        ({"event_ids": ["x"], "label": "odd"}, "label"),
        ({"retract_group": "x", "label": "normal"}, "retract_group"),
        ({"retract_group": "nothing"}, "retract_group"),
        ({"retract_group": "nul\0"}, "retract_group"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_field(
    client: httpx.Client, body: dict[str, Any], field: str
) -> None:
    assert problem(client.post("/feedback/groups", json=body), 422, "invalid-request")["field"] == field


def test_a_misspelt_preview_stores_nothing(client: httpx.Client) -> None:
    ids = kept(client, 2)
    assert "preveiw" in problem(say(client, ids, preveiw=True), 422, "invalid-request")["detail"]


def test_one_record_that_is_not_kept_refuses_all(client: httpx.Client) -> None:
    ids = kept(client, 2)
    assert mistakes(say(client, [*ids, "gone"])) == [(2, "unknown-event", "event_id")]
    assert "matched_feedback" not in score(client, STRANGE | {"amount": 900.0})


def test_its_records_count_for_the_analysts_hour(settings: Settings) -> None:
    with serving(create_app(settings.model_copy(update={"analyst_labels_per_hour": 5}))) as client:
        ids = kept(client, 6)
        problem(say(client, ids), 429, "too-many-labels")
        stored(say(client, ids[:4]))
        problem(say(client, ids[4:]), 429, "too-many-labels")

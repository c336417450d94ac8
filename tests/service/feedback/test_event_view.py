"""GET /events/{event_id} over HTTP, on both databases: what there is to know of a record, and when."""

from typing import Any

import httpx
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.bundle.review import read_review
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.events.events import Event
from nearnorm.service.ledger.tables.feedback import reference_rows
from tests.service.asking import RECORD, STRANGE, label, problem, score, stored
from tests.service.feedback.test_claims import claim, ids
from tests.service.feedback.test_queue import page
from tests.service.feedback.test_skips import skip
from tests.service.ledger.keeping import keep
from tests.service.waiting import logged, until


def view(client: httpx.Client, event_id: str, **parameters: str) -> dict[str, Any]:
    answer = client.get(f"/events/{event_id}", params=parameters)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_an_event_is_shown_at_once_with_its_verdict_then_and_now_and_why(client: httpx.Client) -> None:
    result = score(client, STRANGE, "tx-1")
    found = view(client, result["event_id"])
    assert (found["source"], found["id"], found["record"]) == ("event", "tx-1", STRANGE)
    then, now = found["verdict"]["then"], found["verdict"]["now"]
    assert then["percentile"] == result["percentile"]
    assert then["anomaly"] is result["anomaly"]
    assert then["budget"] == now["budget"] == "1%"
    assert now["percentile"] == pytest.approx(result["percentile"])
    assert found["reasons"][0]["feature"] == "amount"
    assert found["reasons"][0]["expected"] == {"low": 20.0, "median": 50.0, "high": 80.0, "missing": 0.0}
    assert found["group"]["words"].startswith("50% of normal records: ")
    assert (found["history"], found["own"], found["skipped"]) == ([], [], 0)


def test_the_budget_of_then_is_the_one_that_was_in_force(client: httpx.Client) -> None:
    event_id = score(client, STRANGE)["event_id"]
    client.put("/policy", json={"budget": "5%"}).raise_for_status()
    later = score(client, STRANGE)["event_id"]
    budgets = [
        {when: found["budget"] for when, found in view(client, one)["verdict"].items()}
        for one in (event_id, later)
    ]
    assert budgets == [{"then": "1%", "now": "5%"}, {"then": "5%", "now": "5%"}]


def test_what_nobody_has_seen_is_named(client: httpx.Client) -> None:
    now = view(client, score(client, RECORD | {"amount": 1e12})["event_id"])["verdict"]["now"]
    assert now["anomaly"]
    assert now["novel"] == ["amount"]


def test_a_record_has_a_history_under_its_id(client: httpx.Client) -> None:
    events = [score(client, STRANGE | {"amount": 900.0 + i}, "tx-1")["event_id"] for i in range(23)]
    score(client, STRANGE, "tx-2")
    stored(label(client, {"event_id": events[20], "label": "anomaly", "analyst": "bea"}))
    until(lambda: logged(client))
    last = score(client, STRANGE | {"amount": 899.0}, "tx-1")["event_id"]
    history = view(client, last)["history"]
    assert [one["event_id"] for one in history] == events[:2:-1]
    assert [one.get("verdict") for one in history[:4]] == [None, None, "anomaly", None]
    assert history[0]["percentile"] > 90


def test_others_words_are_told_to_who_has_said_something_himself(client: httpx.Client) -> None:
    event_id = score(client, STRANGE, "tx-1")["event_id"]
    equal = score(client, STRANGE, "tx-1")["event_id"]
    said = {"event_id": event_id, "label": "anomaly", "analyst": "bea", "class": "mule", "comment": "seen it"}
    (first,) = stored(label(client, said))
    blind = view(client, event_id, analyst="ann")
    assert "opinions" not in blind
    assert "judged" not in blind
    assert "mule" not in str(blind)
    assert blind["verdict"]["now"]["budget"]
    assert [one.get("verdict") for one in blind["history"]] == [None]
    assert [one["feedback_id"] for one in view(client, event_id, analyst="bea")["own"]] == [first]

    (own,) = stored(label(client, {"event_id": event_id, "label": "normal", "analyst": "ann"}))
    found = view(client, equal, analyst="ann")
    assert [one["feedback_id"] for one in found["own"]] == [own]
    (opinion,) = found["opinions"]
    assert opinion.pop("at")
    assert opinion == {
        "feedback_id": first,
        "label": "anomaly",
        "analyst": "bea",
        "stands": True,
        "class": "mule",
        "comment": "seen it",
    }
    assert found["judged"] == "conflict"
    assert [one["verdict"] for one in found["history"]] == ["conflict"]


def test_words_that_were_taken_back_are_not_told(client: httpx.Client) -> None:
    event_id = score(client, STRANGE)["event_id"]
    (first,) = stored(label(client, {"event_id": event_id, "label": "anomaly", "analyst": "bea"}))
    stored(label(client, {"event_id": event_id, "label": "normal", "analyst": "ann"}))
    stored(label(client, {"retract": first, "analyst": "bea"}))
    found = view(client, event_id, analyst="ann")
    assert (found["opinions"], found["judged"]) == ([], "normal")


def test_what_waits_for_a_second_opinion_is_shown_without_saying_what_was_said(client: httpx.Client) -> None:
    stored(label(client, {"record": RECORD, "label": "anomaly", "analyst": "bea"}))
    (item,) = page(client)["queue"]
    found = view(client, item["event_id"], analyst="ann")
    assert found["source"] == "second_opinion"
    assert found["record"] == RECORD
    assert "opinions" not in found
    assert "then" not in found["verdict"]


def test_a_reference_row_was_never_scored_before(
    client: httpx.Client, ledger: Ledger, payments: Bundle
) -> None:
    with ledger.write() as connection:
        reference_rows.put(connection, payments.version, read_review(payments.path, payments.manifest.core))
    (item,) = claim(client, "ann", 1)
    assert item["why"] == "reference"
    found = view(client, item["event_id"])
    assert (found["source"], found["record"]) == ("reference", item["record"])
    assert found["verdict"]["now"]["percentile"] == item["percentile"]
    assert "then" not in found["verdict"]
    skip(client, item["event_id"], "ann")
    assert item["event_id"] not in ids(claim(client, "ann", 200))


def test_a_record_that_the_serving_version_cannot_read_is_shown_as_it_was(
    client: httpx.Client, ledger: Ledger
) -> None:
    old = Event("01OLD", 0, "default", "v0", "tx", "digest", {"colour": "red"}, 0.9, 99.5, True, 7, True, 1.0)
    keep(ledger, [old])
    found = view(client, "01OLD")
    assert found["record"] == {"colour": "red"}
    then = {"anomaly": True, "percentile": 99.5, "score": 0.9, "model_version": "v0", "budget": "1%"}
    assert found["verdict"] == {"then": then}
    assert not found.keys() & {"group", "reasons"}


def test_operators_see_who_skipped_it_and_why(client: httpx.Client) -> None:
    event_id = score(client, STRANGE)["event_id"]
    skip(client, event_id, "bea", "I know the people")
    found = view(client, event_id)
    (note,) = found["skips"]
    assert note.pop("at")
    assert note == {"analyst": "bea", "key": "anonymous", "reason": "I know the people"}
    assert found["skipped"] == 1


@pytest.mark.parametrize("event_id", ["nobody's", "a%00b", "01J" * 100])
def test_an_event_that_is_not_kept_is_not_found(client: httpx.Client, event_id: str) -> None:
    assert problem(client.get(f"/events/{event_id}"), 404, "not-found")["field"] == "event_id"

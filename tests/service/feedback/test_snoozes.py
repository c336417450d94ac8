"""POST /snoozes over HTTP, on both databases: what nobody is handed before a time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from nearnorm.service.access.erasure import forget_analyst, forget_record
from nearnorm.service.events.log import EventLog
from nearnorm.service.feedback import snoozing
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.events.retention import Amount
from nearnorm.service.ledger.tables.feedback.snoozes import Snooze, put, snoozes
from tests.service.asking import RECORD, STRANGE, label, problem, score, stored
from tests.service.feedback.test_claims import claim, ids
from tests.service.feedback.test_queue import fill, page
from tests.service.waiting import until

HOUR = 3600


def snooze(client: httpx.Client, event_id: str, seconds: int = HOUR, **body: Any) -> dict[str, Any]:
    sent = {"event_id": event_id, "seconds": seconds, "reason": "the bank calls back", **body}
    answer = client.post("/snoozes", json=sent)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def kept(ledger: Ledger) -> set[str]:
    with ledger.read() as connection:
        return set(connection.scalars(sa.select(snoozes.c.reason)))


def wake_all(ledger: Ledger) -> None:
    """As if the time were over."""
    with ledger.write() as connection:
        connection.execute(sa.update(snoozes).values(until=now_ms() - 1))


def test_a_record_that_sleeps_is_handed_to_nobody_and_comes_back_by_itself(
    client: httpx.Client, ledger: Ledger
) -> None:
    fill(client, 30)
    first = claim(client, "ann", 1)[0]["event_id"]
    snooze(client, first, analyst="ann")
    for analyst in ("ann", "bea"):
        assert first not in ids(claim(client, analyst, 100))
    client.post("/claims/release", json={"analyst": "ann"}).raise_for_status()
    client.post("/claims/release", json={"analyst": "bea"}).raise_for_status()
    assert first not in ids(page(client, limit=200)["queue"])
    groups = client.get("/queue/groups?limit=250").json()["groups"]
    assert first not in {event_id for group in groups for event_id in group["event_ids"]}
    wake_all(ledger)
    assert first in ids(page(client, limit=200)["queue"])
    assert first in ids(claim(client, "bea", 200))


def test_what_another_holds_is_taken_from_him(client: httpx.Client) -> None:
    event_id = score(client, STRANGE)["event_id"]
    until(lambda: ids(claim(client, "ann", 5)) == [event_id])
    snooze(client, event_id, analyst="bea")
    assert ids(claim(client, "ann", 5)) == []


def test_an_equal_record_that_is_scored_meanwhile_sleeps_too(client: httpx.Client) -> None:
    snooze(client, score(client, STRANGE)["event_id"])
    again = score(client, STRANGE)["event_id"]
    other = score(client, STRANGE | {"amount": 901.0})["event_id"]
    until(lambda: other in ids(page(client)["queue"]))
    assert again not in ids(page(client)["queue"])


def test_what_waits_for_a_second_opinion_sleeps_too(client: httpx.Client) -> None:
    stored(label(client, {"record": RECORD, "label": "anomaly", "analyst": "ann"}))
    (item,) = page(client)["queue"]
    snooze(client, item["event_id"])
    assert page(client)["queue"] == []
    assert ids(claim(client, "bea", 5)) == []


def test_one_sees_what_sleeps_why_and_for_whom_and_anybody_wakes_it(client: httpx.Client) -> None:
    event_id = score(client, STRANGE)["event_id"]
    said = snooze(client, event_id, 48 * HOUR, analyst="ann", reason="  the bank \n calls back ")
    assert (said["analyst"], said["reason"]) == ("ann", "the bank calls back")
    assert (
        timedelta(hours=47) < datetime.fromisoformat(said["until"]) - datetime.now(UTC) <= timedelta(hours=48)
    )
    assert client.get(f"/events/{event_id}").json()["snoozed"] == said
    assert client.get("/snoozes").json() == {"snoozes": [said]}
    assert client.delete(f"/snoozes/{event_id}").json() == {"event_id": event_id}
    assert client.get("/snoozes").json() == {"snoozes": []}
    assert "snoozed" not in client.get(f"/events/{event_id}").json()
    problem(client.delete(f"/snoozes/{event_id}"), 404, "not-found")


def test_what_wakes_next_is_listed_first_page_by_page(client: httpx.Client) -> None:
    events = [score(client, STRANGE | {"amount": 900.0 + i})["event_id"] for i in range(3)]
    for hours, event_id in zip((3, 1, 2), events, strict=True):
        snooze(client, event_id, hours * HOUR)
    first = client.get("/snoozes?limit=2").json()
    rest = client.get(f"/snoozes?limit=2&cursor={first['next']}").json()
    assert ids(first["snoozes"] + rest["snoozes"]) == [events[1], events[2], events[0]]
    assert "next" not in rest


def test_said_again_the_newer_time_and_reason_stand(client: httpx.Client, ledger: Ledger) -> None:
    event_id = score(client, STRANGE)["event_id"]
    snooze(client, event_id, reason="one")
    newer = snooze(client, event_id, 24 * HOUR, reason="two", analyst="bea")
    assert kept(ledger) == {"two"}
    assert client.get("/snoozes").json() == {"snoozes": [newer]}


def test_a_record_that_sleeps_may_still_be_judged(client: httpx.Client, ledger: Ledger) -> None:
    event_id = score(client, STRANGE)["event_id"]
    snooze(client, event_id)
    stored(label(client, {"event_id": event_id, "label": "normal"}))
    wake_all(ledger)
    assert page(client)["queue"] == []


@pytest.mark.parametrize(
    ("body", "status", "name", "field"),
    [
        ({"event_id": "nobody's"}, 404, "not-found", "event_id"),
        ({"reason": " \n"}, 422, "invalid-request", "reason"),
        ({"reason": "y" * 201}, 422, "invalid-request", "reason"),
        ({"seconds": 59}, 422, "invalid-request", "seconds"),
        ({"seconds": 91 * 24 * HOUR}, 422, "invalid-request", "seconds"),
        ({"seconds": "long"}, 422, "invalid-request", "seconds"),
        ({"model": "other"}, 404, "unknown-model", "model"),
    ],
)
def test_a_snooze_that_does_not_fit_is_refused_by_its_field(
    client: httpx.Client, body: dict[str, str], status: int, name: str, field: str
) -> None:
    whole = {"event_id": "x", "seconds": HOUR, "reason": "why"} | body
    assert problem(client.post("/snoozes", json=whole), status, name).get("field") == field


def test_a_keys_analysts_let_so_many_records_sleep_and_no_more(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snoozing, "MOST_OF_KEY", 2)
    events = [score(client, STRANGE | {"amount": 900.0 + i})["event_id"] for i in range(3)]
    for event_id in events[:2]:
        snooze(client, event_id)
    sent = {"event_id": events[2], "seconds": HOUR, "reason": "why"}
    assert "2 records sleep" in problem(client.post("/snoozes", json=sent), 409, "conflict")["detail"]


def test_a_snooze_goes_with_its_record_and_with_its_analyst(client: httpx.Client, ledger: Ledger) -> None:
    for name, amount, analyst in (("tx-1", 900.0, "ann"), ("tx-2", 901.0, "ann"), ("tx-3", 902.0, "bea")):
        event_id = score(client, STRANGE | {"amount": amount}, name)["event_id"]
        snooze(client, event_id, analyst=analyst, reason=f"about {name}")
    until(lambda: len(client.get("/events").json()["events"]) == 3)
    forget_record(ledger, "tx-1", "test")
    assert kept(ledger) == {"about tx-2", "about tx-3"}
    forget_analyst(ledger, "ann", "test")
    assert kept(ledger) == {"about tx-3"}


def test_what_is_over_is_deleted(ledger: Ledger) -> None:
    with ledger.write() as connection:
        for name, end in (("past", now_ms() - 1000), ("to come", now_ms() + 60_000)):
            put(connection, Snooze("default", name, "e", "key", "ann", name, end))
    EventLog(ledger, 0.0, Amount(10, 10**9), 30.0).sweep()
    assert kept(ledger) == {"to come"}

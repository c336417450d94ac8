"""POST /claims/skip over HTTP, on both databases: who will not judge what, and who hears why."""

from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from nearnorm.service.access.erasure import forget_analyst, forget_record
from nearnorm.service.app import create_app
from nearnorm.service.events.log import EventLog
from nearnorm.service.feedback import claims as rules
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.events.retention import Amount
from nearnorm.service.ledger.tables.feedback.skips import Skip, put, skips
from nearnorm.service.settings import Settings
from tests.service.asking import RECORD, STRANGE, label, problem, score, stored
from tests.service.feedback.test_claims import claim, ids
from tests.service.feedback.test_queue import fill, page
from tests.service.running import serving
from tests.service.waiting import until


def skip(client: httpx.Client, event_id: str, analyst: str, reason: str = "unsure", **body: Any) -> int:
    answer = client.post(
        "/claims/skip", json={"event_id": event_id, "analyst": analyst, "reason": reason, **body}
    )
    assert answer.status_code == 200, answer.text
    skipped: int = answer.json()["skipped"]
    return skipped


def kept(ledger: Ledger) -> list[tuple[str, str]]:
    with ledger.read() as connection:
        rows = connection.execute(sa.select(skips.c.analyst, skips.c.reason).order_by(skips.c.analyst))
        return [(row.analyst, row.reason) for row in rows]


def test_who_skips_a_record_is_not_handed_it_again_and_others_are(client: httpx.Client) -> None:
    fill(client, 30)
    first = claim(client, "ann", 1)[0]["event_id"]
    assert skip(client, first, "ann") == 1
    assert first not in ids(claim(client, "ann", 200))
    client.post("/claims/release", json={"analyst": "ann"}).raise_for_status()
    assert first in ids(claim(client, "bea", 200))
    assert skip(client, first, "bea") == 2
    assert first not in ids(claim(client, "bea", 200))


def test_the_queue_and_a_claim_tell_how_many_skipped_a_record(client: httpx.Client) -> None:
    fill(client, 5)
    first, second, *_ = ids(page(client)["queue"])
    for analyst in ("ann", "bea"):
        skip(client, first, analyst)
    assert {item["event_id"]: item.get("skipped") for item in page(client)["queue"]}[first] == 2
    given = {item["event_id"]: item.get("skipped") for item in claim(client, "cem", 200)}
    assert (given[first], given[second]) == (2, None)


def test_an_equal_record_that_is_scored_later_stays_skipped(client: httpx.Client) -> None:
    first = score(client, STRANGE)["event_id"]
    skip(client, first, "ann")
    again = score(client, STRANGE)["event_id"]
    until(lambda: again in ids(page(client)["queue"]))
    assert ids(claim(client, "ann", 200)) == []
    assert ids(claim(client, "bea", 200)) == [again]


def test_a_skip_holds_over_replicas(client: httpx.Client, settings: Settings) -> None:
    event_id = score(client, STRANGE)["event_id"]
    until(lambda: page(client)["queue"])
    with serving(create_app(settings)) as other:
        skip(client, event_id, "ann")
        assert ids(claim(other, "ann", 200)) == []
        assert skip(other, event_id, "bea") == 2


def test_what_waits_for_a_second_opinion_and_a_reference_row_are_skipped_too(client: httpx.Client) -> None:
    stored(label(client, {"record": RECORD, "label": "anomaly", "analyst": "ann"}))
    (item,) = page(client)["queue"]
    assert item["why"] == "second_opinion"
    skip(client, item["event_id"], "ann")
    assert ids(claim(client, "ann", 200)) == []


def test_a_skipped_record_may_still_be_judged(client: httpx.Client) -> None:
    event_id = score(client, STRANGE)["event_id"]
    skip(client, event_id, "ann")
    stored(label(client, {"event_id": event_id, "label": "normal", "analyst": "ann"}))


def test_said_again_the_newer_reason_stands(client: httpx.Client, ledger: Ledger) -> None:
    event_id = score(client, STRANGE)["event_id"]
    assert skip(client, event_id, "ann", "unsure") == skip(client, event_id, "ann", "  not my \n field ") == 1
    assert kept(ledger) == [("ann", "not my field")]


@pytest.mark.parametrize(
    ("body", "status", "name", "field"),
    [
        ({"event_id": "nobody's", "reason": "unsure"}, 404, "not-found", "event_id"),
        ({"event_id": "x", "reason": ""}, 422, "invalid-request", "reason"),
        ({"event_id": "x", "reason": " \n"}, 422, "invalid-request", "reason"),
        ({"event_id": "x", "reason": "y" * 201}, 422, "invalid-request", "reason"),
        ({"event_id": "x", "reason": "a\0"}, 422, "invalid-request", "reason"),
        ({"event_id": "x"}, 422, "invalid-request", None),
        ({"event_id": "x", "reason": "unsure", "model": "other"}, 404, "unknown-model", "model"),
    ],
)
def test_a_skip_that_does_not_fit_is_refused_by_its_field(
    client: httpx.Client, body: dict[str, str], status: int, name: str, field: str | None
) -> None:
    assert problem(client.post("/claims/skip", json=body), status, name).get("field") == field


def test_a_keys_analysts_skip_so_many_records_and_no_more(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "MOST_SKIPPED_OF_KEY", 2)
    events = [score(client, STRANGE | {"amount": 900.0 + i})["event_id"] for i in range(3)]
    for event_id in events[:2]:
        skip(client, event_id, "ann")
    refused = client.post("/claims/skip", json={"event_id": events[2], "reason": "unsure", "analyst": "bea"})
    assert "skipped 2 records" in problem(refused, 409, "conflict")["detail"]


def test_a_skip_goes_with_its_record_and_with_its_analyst(client: httpx.Client, ledger: Ledger) -> None:
    first = score(client, STRANGE, "tx-1")["event_id"]
    second = score(client, STRANGE | {"amount": 901.0}, "tx-2")["event_id"]
    until(lambda: len(page(client)["queue"]) == 2)
    for event_id in (first, second):
        for analyst in ("ann", "bea"):
            skip(client, event_id, analyst, f"I know {event_id}")
    forget_record(ledger, "tx-1", "test")
    assert kept(ledger) == [("ann", f"I know {second}"), ("bea", f"I know {second}")]
    forget_analyst(ledger, "ann", "test")
    assert kept(ledger) == [("bea", f"I know {second}")]


def test_a_skip_is_forgotten_when_it_is_as_old_as_events_are_kept(ledger: Ledger) -> None:
    day = 24 * 3600 * 1000
    with ledger.write() as connection:
        for days in (29, 31):
            put(
                connection,
                Skip("default", f"{days}", "key", "ann", "e", f"{days} days", now_ms() - days * day),
            )
    EventLog(ledger, 0.0, Amount(10, 10**9), 30.0).sweep()
    assert kept(ledger) == [("ann", "29 days")]

"""One caller's flood: what others have in the event log and in the queue stays, and a lone caller has all."""

import pytest
from msgspec.structs import replace

from nearnorm.service.events import log as writer
from nearnorm.service.events.log import EventLog
from nearnorm.service.feedback import queue
from nearnorm.service.feedback.figures import recall
from nearnorm.service.ids import new_id, now_ms
from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.label_history import Label
from nearnorm.service.ledger.tables.events import retention
from nearnorm.service.ledger.tables.events.events import Event
from nearnorm.service.ledger.tables.events.retention import Amount
from nearnorm.service.ledger.tables.feedback import labels
from tests.service.events.test_events import batch, kept, offer
from tests.service.ledger.keeping import keep

ALL = frozenset(range(10_000))


def event_log(ledger: Ledger, rows: int = 10**6, size: int = 10**9, rate: float = 0.0) -> EventLog:
    return EventLog(ledger, rate=rate, bounds=Amount(rows, size), days=1.0)


def flood(log: EventLog, rows: int, caller: str = "flood", first: int = 0) -> dict[int, str]:
    """So many alerts of one caller, none like another."""
    scored = batch(rows, frozenset(range(rows)), caller=caller)
    scored.encoded.rows.numeric = scored.encoded.rows.numeric + first
    return offer(log, replace(scored, percentile=[100.0] * rows, score=[1.0] * rows))


def held(ledger: Ledger) -> dict[str | None, int]:
    with ledger.read() as connection:
        return {caller: use.all.rows for caller, use in retention.usage(connection).items()}


def judge(ledger: Ledger, events: list[Event]) -> None:
    said = [
        Label(new_id(), now_ms(), "default", event.digest, "anomaly", {}, "ann", "key") for event in events
    ]
    with ledger.write() as connection:
        labels.append(connection, tick(connection, "labels"), said)


def pages(ledger: Ledger, limit: int) -> list[list[Event]]:
    """The whole queue."""
    found, cursor = [], queue.Cursor()
    while True:
        with ledger.read() as connection:
            picks, end = queue.review(connection, "default", 99.0, limit, cursor)
        found.append([pick.event for pick in picks])
        if end is None:
            return found
        cursor = queue.read_cursor(queue.write_cursor(end))


def test_a_victims_alerts_outlive_a_flood_and_stand_in_the_queue(ledger: Ledger) -> None:
    log = event_log(ledger, rows=1000)
    victim = set(flood(log, 20, "victim").values())
    for start in range(0, 25_000, 5_000):
        flood(log, 5_000, first=1000 + start)
    victim |= set(flood(log, 5, "victim", first=500).values())
    assert len(victim) == 25  # the last of them pushed the flood's newest out of what waits
    log.flush()
    log.sweep()
    assert held(ledger) == {"victim": 25, "flood": 975}
    assert victim < {event.event_id for event in kept(ledger)}
    (page, *_) = pages(ledger, 60)
    assert victim < {event.event_id for event in page}


def test_half_of_a_page_at_most_is_one_callers_while_others_have_alerts(ledger: Ledger) -> None:
    log = event_log(ledger, rate=1.0)
    flood(log, 300, first=1000)
    scored = batch(200, ALL, caller="victim")
    offer(log, replace(scored, percentile=[99.0 + i / 1000 for i in range(200)]))
    log.flush()
    log.flush()
    for limit in (3, 20):
        walk = [event.caller for page in pages(ledger, limit) for event in page]
        assert len(walk) == 500
        for seen in (20, 100, 300):
            assert abs(walk[:seen].count("flood") - seen / 2) <= 2, (limit, seen)


def test_pages_give_every_event_of_every_caller_once(ledger: Ledger) -> None:
    log = event_log(ledger, rate=1.0)
    for number, caller in enumerate(("a", "b", "c")):
        scored = batch(40 + 30 * number, frozenset({0, 1, 2}), caller=caller)
        scored.encoded.rows.numeric = scored.encoded.rows.numeric + 1000 * number
        offer(log, scored)
    log.flush()
    log.flush()
    walk = [event.event_id for page in pages(ledger, 9) for event in page]
    assert len(walk) == len(set(walk)) == 40 + 70 + 100


def test_a_page_ends_where_its_bytes_do_and_the_next_goes_on(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = event_log(ledger)
    flood(log, 30)
    log.flush()
    monkeypatch.setattr(queue, "MOST_BYTES", 5_000)
    sizes = [[event.size or 0 for event in page] for page in pages(ledger, 20)]
    assert sum(map(len, sizes)) == 30
    assert all(0 < sum(page) <= 5_000 for page in sizes)
    monkeypatch.setattr(queue, "MOST_BYTES", 1)
    assert [len(page) for page in pages(ledger, 20)] == [1] * 30


def test_a_lone_caller_has_all_of_what_waits_and_of_the_log(ledger: Ledger) -> None:
    log = event_log(ledger, rows=500)
    assert len(flood(log, 10_000)) + len(flood(log, 10_000, first=20_000)) == 20_000
    assert flood(log, 1, first=50_000) == {}
    assert log.drops["full"] == 1
    log.flush()
    log.sweep()
    assert held(ledger) == {"flood": 500}
    amounts = [event.record["amount"] for event in kept(ledger)]
    assert amounts == [20_000.0 + i for i in range(9_500, 10_000)]  # its newest


def test_who_waits_with_least_pushes_out_the_newest_of_who_has_most(ledger: Ledger) -> None:
    log = event_log(ledger)
    first, second = flood(log, 10_000), flood(log, 10_000, first=20_000)
    mine = flood(log, 30, "victim", first=50_000)
    assert len(mine) == 30
    assert log.drops["full"] == 30
    assert log.waiting(first[0])
    assert log.waiting(second[9_969])
    assert log.waiting(second[9_970]) is None
    assert len(flood(log, 15_000, "third", first=60_000)) == 9_985  # an even part of what is left
    log.flush()
    assert held(ledger) == {"flood": 9_985, "victim": 30, "third": 9_985}


def test_what_waits_is_bounded_in_bytes(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "QUEUE_BYTES", 100_000)
    log = event_log(ledger)
    mine = flood(log, 10, "victim")
    theirs = offer(log, batch(20, ALL, ids=["x" * 10_000] * 20, caller="flood"))
    assert 0 < len(theirs) < 10
    assert all(log.waiting(event_id) for event_id in [*mine.values(), *theirs.values()])
    assert log.drops["full"] == 20 - len(theirs)


def test_a_row_with_too_much_text_of_its_callers_is_not_kept_and_counted(ledger: Ledger) -> None:
    log = event_log(ledger)
    ids: list[str | int] = ["x" * 16_382, "y" * 16_383, "z"]  # and two letters of a country that is not known
    assert set(offer(log, batch(3, ALL, ids=ids))) == {0, 2}
    assert log.drops["text"] == 1
    assert log.kept == 2


def test_the_log_is_bounded_in_bytes(ledger: Ledger) -> None:
    log = event_log(ledger, size=50_000)
    mine = flood(log, 20, "victim")
    offer(log, batch(40, ALL, ids=["x" * 5_000] * 40, caller="flood"))
    log.flush()
    log.sweep()
    assert 40_000 < log.held.bytes <= 50_000
    assert set(mine.values()) < {event.event_id for event in kept(ledger)}
    assert log.evicted["alert"] == 60 - log.held.rows


def test_unjudged_alerts_are_kept_longest_and_a_quarter_is_left_to_the_rest(ledger: Ledger) -> None:
    log = event_log(ledger, rows=100, rate=1.0)
    offer(log, batch(100))  # of the random slice
    flood(log, 100, "app", first=1000)
    log.flush()
    log.flush()
    judge(ledger, kept(ledger)[100:110])
    log.sweep()
    left = kept(ledger)
    assert sum(event.anomaly for event in left) >= 75
    assert [e.record["amount"] for e in left if not e.anomaly] == [float(i) for i in range(85, 100)]
    assert log.evicted == {"alert": 15, "other": 85}


def test_what_alerts_leave_of_a_share_is_the_rests(ledger: Ledger) -> None:
    log = event_log(ledger, rows=100, rate=1.0)
    offer(log, batch(100))
    flood(log, 20, "app", first=1000)
    log.flush()
    log.sweep()
    assert [event.anomaly for event in kept(ledger)] == [False] * 80 + [True] * 20


def test_judged_alerts_have_their_place_among_the_rest(ledger: Ledger) -> None:
    log = event_log(ledger, rows=50)
    flood(log, 100)
    log.flush()
    log.flush()
    judge(ledger, kept(ledger)[:10])
    log.sweep()
    amounts = [event.record["amount"] for event in kept(ledger)]
    assert amounts == [float(i) for i in (*range(10), *range(60, 100))]


def test_the_estimate_of_recall_uses_only_the_time_of_which_all_is_there(ledger: Ledger) -> None:
    """Alerts outlive the random slice: counted all, they would make recall look better than it is."""
    log = event_log(ledger, rows=160, rate=1.0)
    for first in range(0, 400, 100):
        scored = batch(100, frozenset(range(20)))
        scored.encoded.rows.numeric = scored.encoded.rows.numeric + first
        offer(log, scored)
    log.flush()
    log.flush()
    everything = kept(ledger)
    judge(ledger, [event for event in everything if event.record["amount"] % 100 in (19, 99)])
    with ledger.read() as connection:
        before = recall.read(connection, "default", everything[0].model_version)
    log.sweep()
    with ledger.read() as connection:
        after = recall.read(connection, "default", everything[0].model_version)
    assert before is not None
    assert after is not None
    assert len(kept(ledger)) == 160
    assert after.estimate == pytest.approx(before.estimate, abs=0.05)


def test_events_of_before_callers_were_noted_are_one_callers(ledger: Ledger) -> None:
    log = event_log(ledger, rows=50)
    flood(log, 100)
    log.flush()
    old = [
        replace(e, event_id=new_id(), digest=f"old{i}", caller=None, size=None)
        for i, e in enumerate(kept(ledger)[:30])
    ]
    keep(ledger, old)
    log.sweep()
    assert held(ledger) == {None: 25, "flood": 25}

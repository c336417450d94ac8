"""The event log's writer: what is kept, in which bounds, and what happens to what does not fit."""

import asyncio
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from nearnorm.service.background import Background
from nearnorm.service.events import log as writer
from nearnorm.service.events.log import EventLog, ScoredBatch
from nearnorm.service.events.traffic_counter import RaisedBy
from nearnorm.service.ids import first_id_at, new_id, now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.events import events, retention, traffic
from nearnorm.service.ledger.tables.events.events import Event
from nearnorm.service.ledger.tables.events.retention import Amount
from nearnorm.service.ledger.tables.events.traffic import Counted
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.records.shapes import Envelope
from tests.service.bundles import PAYMENTS
from tests.service.ledger.keeping import keep
from tests.service.waiting import until

ENCODER = Encoder(PAYMENTS, 100_000)


def batch(
    count: int,
    alerts: frozenset[int] = frozenset(),
    ids: list[str | int] | None = None,
    version: str = "v",
    caller: str = "app",
) -> ScoredBatch:
    """`count` rows whose amount is their place."""
    records = [{"amount": i, "channel": "web", "country": "XA"} for i in range(count)]
    alert = [i in alerts for i in range(count)]
    encoded = ENCODER.encode(Envelope(records=list(records)))
    encoded.ids = ids
    return ScoredBatch(
        "default",
        version,
        ENCODER,
        encoded,
        [i / count for i in range(count)],
        [100.0 * i / count for i in range(count)],
        alert,
        alert,
        [0] * count,
        caller,
    )


def offer(log: EventLog, scored: ScoredBatch) -> dict[int, str]:
    raised = RaisedBy(by_score=sum(scored.alert))
    log.traffic.note(scored.model, scored.version, scored.caller, np.array(scored.score, np.float32), raised)
    return log.keep(scored, log.pick(scored.alert))


def counted(ledger: Ledger, model: str = "default") -> list[Counted]:
    with ledger.read() as connection:
        return traffic.since(connection, model, "v", 0, 0)


def kept(ledger: Ledger) -> list[events.Event]:
    with ledger.read() as connection:
        return events.fetch(connection, sa.select(events.events).order_by(events.events.c.event_id))


@pytest.fixture
def log(ledger: Ledger) -> EventLog:
    """Keeps alerts only, and writes when it is told to."""
    return EventLog(ledger, rate=0.0, bounds=Amount(1000, 10**9), days=1.0)


def test_every_alert_is_kept_with_what_the_model_saw(log: EventLog, ledger: Ledger) -> None:
    ids = offer(log, batch(10, frozenset({3, 7}), ids=[f"tx-{i}" for i in range(10)]))
    log.flush()
    first, second = kept(ledger)
    assert [first.event_id, second.event_id] == [ids[3], ids[7]]
    assert first.record == {
        "amount": 3.0,
        "epoch": None,
        "new device": None,
        "channel": "web",
        "country": "XA",
    }
    assert (first.record_id, first.score, first.percentile) == ("tx-3", 0.3, 30.0)
    assert (first.anomaly, first.audit, first.probability, first.model_version) == (True, False, 1.0, "v")


def test_the_random_slice_is_unbiased_and_its_probability_is_stored(ledger: Ledger) -> None:
    log = EventLog(ledger, rate=0.02, bounds=Amount(10**6, 10**9), days=1.0)
    total = 0
    for size in (1, 7, 100) * 60:  # fewer than are drawn in a second of heavy traffic
        total += size
        offer(log, batch(size))
    log.flush()
    found = kept(ledger)
    assert {event.probability for event in found} == {0.02}
    assert all(event.audit for event in found)
    assert abs(len(found) - 0.02 * total) < 5 * (total * 0.02 * 0.98) ** 0.5
    estimate = sum(1 / event.probability for event in found if event.percentile >= 50)
    assert estimate == pytest.approx(total / 2, rel=0.6)


def test_an_alert_of_the_random_slice_says_so_and_was_certain_to_be_kept(ledger: Ledger) -> None:
    log = EventLog(ledger, rate=1.0, bounds=Amount(1000, 10**9), days=1.0)
    offer(log, batch(2, frozenset({0})))
    log.flush()
    assert [(e.audit, e.probability) for e in kept(ledger)] == [(True, 1.0), (True, 1.0)]


def test_an_alert_that_analysts_hold_back_was_certain_to_be_kept_and_one_they_raise_was_not(
    ledger: Ledger,
) -> None:
    """The probability goes by the alert, which decides what is kept, not by the verdict."""
    log = EventLog(ledger, rate=0.5, bounds=Amount(1000, 10**9), days=1.0)
    scored = batch(200, frozenset(range(100)))
    offer(log, replace(scored, anomaly=[not alert for alert in scored.alert]))
    log.flush()
    assert {(e.anomaly, e.probability) for e in kept(ledger)} == {(False, 1.0), (True, 0.5)}


def test_what_waits_can_be_found_and_is_found_in_the_ledger_after(log: EventLog, ledger: Ledger) -> None:
    (event_id,) = offer(log, batch(3, frozenset({1}), ids=["a", "b", "c"])).values()
    waiting = log.waiting(event_id)
    assert waiting is not None
    assert log.waiting_of("default", "b") == [waiting]
    assert log.waiting_of("default", "a") == []
    assert log.waiting_of("other", "b") == []
    log.flush()
    assert log.waiting(event_id) is None
    with ledger.read() as connection:
        assert events.find(connection, event_id) == waiting
        assert events.of_record(connection, "default", "b", 9) == [waiting]
        assert events.of_record(connection, "other", "b", 9) == []


def test_what_the_queue_has_no_room_for_is_dropped_and_counted_and_has_no_event_id(log: EventLog) -> None:
    everything = frozenset(range(10_000))
    assert len(offer(log, batch(10_000, everything))) == 10_000
    assert len(offer(log, batch(10_000, everything))) == 10_000
    assert offer(log, batch(5, frozenset({1, 2}))) == {}
    assert (log.kept, log.dropped) == (20_000, 2)
    log.flush()
    assert len(offer(log, batch(5, frozenset({1, 2})))) == 2


def test_an_id_that_postgresql_cannot_store_does_not_stop_the_log(log: EventLog, ledger: Ledger) -> None:
    offer(log, batch(1, frozenset({0}), ids=["a\0b"]))
    log.flush()
    assert [event.record_id for event in kept(ledger)] == ["a\N{REPLACEMENT CHARACTER}b"]


def test_a_category_that_postgresql_cannot_store_comes_back_as_it_was(log: EventLog, ledger: Ledger) -> None:
    records = [{"amount": 1, "channel": "web", "country": 'a\0"b\\u0000'}]
    encoded = ENCODER.encode(Envelope(records=list(records)))
    offer(log, replace(batch(1, frozenset({0})), encoded=encoded))
    log.flush()
    assert [event.record["country"] for event in kept(ledger)] == ['a\0"b\\u0000']


def test_a_group_that_is_written_twice_is_there_once(log: EventLog, ledger: Ledger) -> None:
    offer(log, batch(2, frozenset({0, 1})))
    log.flush()
    group = kept(ledger)
    keep(ledger, group)
    assert kept(ledger) == group


def test_a_group_that_can_never_be_written_is_dropped_and_the_next_one_is_written(ledger: Ledger) -> None:
    log = EventLog(ledger, rate=0.0, bounds=Amount(1000, 10**9), days=1.0)
    offer(log, replace(batch(1, frozenset({0})), prototype=[object()]))
    log.start(Background())
    until(lambda: log.dropped)
    offer(log, batch(1, frozenset({0}), version="good"))
    log.stop()
    assert log.dropped == 1
    assert [event.model_version for event in kept(ledger)] == ["good"]


def test_stopping_writes_what_waits(ledger: Ledger) -> None:
    log = EventLog(ledger, rate=0.0, bounds=Amount(1000, 10**9), days=1.0)
    log.start(Background())
    offer(log, batch(2, frozenset({0, 1})))
    log.stop()
    assert len(kept(ledger)) == 2


def test_an_event_that_is_written_between_the_looks_at_ledger_and_log_is_seen(ledger: Ledger) -> None:
    log = EventLog(ledger, rate=0.0, bounds=Amount(1000, 10**9), days=1.0)
    (event_id,) = offer(log, batch(1, frozenset({0}))).values()
    looks = []

    def look(connection: sa.Connection) -> Event | None:
        written = events.find(connection, event_id)
        looks.append(written)
        if len(looks) == 1:
            log.flush()
        return log.waiting(event_id) or written

    assert asyncio.run(log.seen(look)) is not None
    assert len(looks) == 2
    assert asyncio.run(log.seen(look)) is not None
    assert len(looks) == 3, "nothing was written meanwhile"


def test_the_log_is_bounded_in_rows_and_in_age(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "CHUNK", 10)
    log = EventLog(ledger, rate=1.0, bounds=Amount(40, 10**9), days=1.0)
    offer(log, batch(100))
    log.flush()
    log.sweep()
    assert [e.record["amount"] for e in kept(ledger)] == [float(i) for i in range(60, 100)]
    old = [first_id_at(now_ms() - 2 * 24 * 3600 * 1000)[:-1] + str(i) for i in range(5)]
    with ledger.write() as connection:
        for event_id in old:
            connection.execute(
                sa.update(events.events)
                .where(
                    events.events.c.event_id
                    == sa.select(sa.func.max(events.events.c.event_id)).scalar_subquery()
                )
                .values(event_id=event_id)
            )
    log.sweep()
    assert len(kept(ledger)) == 35


def test_all_traffic_is_counted_kept_or_not(
    log: EventLog, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "TRAFFIC_EVERY", -1.0)
    offer(log, batch(100, frozenset({7, 99})))
    offer(log, batch(50))
    log.flush()
    offer(log, batch(100, caller="other"))
    log.flush()
    app, other = sorted(counted(ledger), key=lambda hour: hour.caller)
    assert (app.rows, app.by_score, app.raised) == (150, 2, 2)
    assert (other.rows, other.raised) == (100, 0)
    assert sum(app.bins.values()) == 150
    assert counted(ledger, "other") == []


def test_many_small_requests_are_counted_row_by_row_and_held_in_arrays(log: EventLog) -> None:
    seen = np.array([0.5], np.float32)
    for _ in range(10_000):
        log.traffic.note("default", "v", "app", seen, RaisedBy(by_score=1))
    log.traffic.count()
    (app,) = log.traffic.changed()
    assert (app.rows, app.by_score, sum(app.bins.values())) == (10_000, 10_000, 10_000)


def test_counts_of_traffic_are_held_for_57_days(log: EventLog, ledger: Ledger) -> None:
    now = now_ms() // 3_600_000
    hours = [now - 57 * 24 - 1, now - 57 * 24 + 1, now]
    with ledger.write() as connection:
        traffic.put(connection, "me", [Counted("default", h, "v", "app", 1, 0, 0, 0, 0, {}) for h in hours])
    log.sweep()
    assert sorted(hour.hour for hour in counted(ledger)) == hours[1:]


def test_a_flood_is_swept_before_the_minute_is_over(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "CHUNK", 10)
    log = EventLog(ledger, rate=1.0, bounds=Amount(40, 10**9), days=1.0)
    log.start(Background())
    offer(log, batch(100))
    until(lambda: len(kept(ledger)) == 40)
    log.stop()


@pytest.fixture
def busy(log: EventLog) -> Iterator[EventLog]:
    log.start(Background())
    yield log
    log.stop()


def threads_that_write() -> int:
    return sum(thread.name == writer.WRITING for thread in threading.enumerate())


def test_offering_from_the_loop_while_the_thread_writes_loses_nothing(busy: EventLog, ledger: Ledger) -> None:
    ids: list[str] = []
    for _ in range(300):
        ids += offer(busy, batch(3, frozenset({0, 2}))).values()
        time.sleep(0.001)
    writing = threads_that_write()  # other services of this process have one each
    busy.stop()
    assert [event.event_id for event in kept(ledger)] == ids
    assert threads_that_write() == writing - 1


def test_identifiers_sort_by_time_even_within_a_millisecond() -> None:
    ids = [new_id() for _ in range(5000)]
    assert ids == sorted(set(ids))
    assert all(len(id_) == 26 for id_ in ids)
    assert first_id_at(now_ms() + 1) > ids[-1]

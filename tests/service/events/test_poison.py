"""Rows that the ledger does not take: they are dropped alone, and hold up nobody."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from nearnorm.service.background import Background
from nearnorm.service.errors import LedgerUnavailable
from nearnorm.service.events.log import EventLog, ScoredBatch
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.events.retention import Amount
from tests.service.events.test_candidates import standing
from tests.service.events.test_events import batch, counted, kept, offer
from tests.service.waiting import until


@pytest.fixture
def log(ledger: Ledger) -> EventLog:
    """Keeps alerts only, and writes when it is told to."""
    return EventLog(ledger, rate=0.0, bounds=Amount(1000, 10**9), days=1.0)


def poisoned(count: int, at: set[int]) -> ScoredBatch:
    """Alerts, some of which no database takes: 2 to the power of 70 is no prototype."""
    scored = batch(count, frozenset(range(count)), ids=[f"tx-{i}" for i in range(count)])
    return replace(scored, prototype=[2**70 if i in at else 0 for i in range(count)])


def test_of_a_group_only_the_rows_at_fault_are_dropped_and_counted(log: EventLog, ledger: Ledger) -> None:
    ids = offer(log, poisoned(30, {0, 7, 8, 29}))
    log.flush()
    assert {event.event_id for event in kept(ledger)} == {ids[i] for i in ids if i not in {0, 7, 8, 29}}
    assert log.drops == {"full": 0, "text": 0, "refused": 4, "stopped": 0}
    assert log.waiting(ids[1]) is None
    log.flush()
    assert len(standing(ledger)) == 26
    assert log.backlog == 0


def test_a_group_that_the_ledger_refuses_altogether_is_dropped_and_the_next_is_written(
    log: EventLog, ledger: Ledger
) -> None:
    offer(log, poisoned(3, {0, 1, 2}))
    log.flush()
    (event_id,) = offer(log, batch(1, frozenset({0}))).values()
    log.flush()
    assert [event.event_id for event in kept(ledger)] == [event_id]
    assert log.dropped == 3


def test_traffic_is_counted_though_a_row_of_the_group_was_refused(log: EventLog, ledger: Ledger) -> None:
    offer(log, poisoned(10, {3}))
    log.flush()
    log.flush()
    assert [hour.rows for hour in counted(ledger)] == [10]


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_an_id_too_long_for_postgresqls_index_stops_nobody(log: EventLog, ledger: Ledger) -> None:
    with ledger.read() as connection:  # chance does not compress
        query = "SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 400)"
        long = connection.execute(sa.text(query)).scalar_one()
    ids = offer(log, batch(3, frozenset({0, 1, 2}), ids=["a", long, "c"]))
    log.flush()
    assert [event.event_id for event in kept(ledger)] == [ids[0], ids[2]]
    assert log.drops["refused"] == 1


def test_in_an_outage_nothing_is_dropped(log: EventLog, ledger: Ledger) -> None:
    ids = offer(log, poisoned(4, {1}))
    with ledger.write() as connection:
        connection.execute(sa.text("ALTER TABLE events RENAME TO elsewhere"))
    with pytest.raises(LedgerUnavailable):
        log.flush()
    assert (log.dropped, log.backlog) == (0, 4)
    with ledger.write() as connection:
        connection.execute(sa.text("ALTER TABLE elsewhere RENAME TO events"))
    log.flush()
    assert {event.event_id for event in kept(ledger)} == {ids[0], ids[2], ids[3]}


def test_an_outage_that_begins_while_a_group_is_divided_drops_nothing(log: EventLog, ledger: Ledger) -> None:
    scored = batch(4, frozenset(range(4)))
    unspeakable: dict[str, Any] = {"country": [object()]}
    offer(log, replace(scored, encoded=replace(scored.encoded, unknown={1: unspeakable})))
    with ledger.write() as connection:
        connection.execute(sa.text("ALTER TABLE events RENAME TO elsewhere"))
    with pytest.raises(LedgerUnavailable):
        log.flush()
    assert (log.dropped, log.backlog) == (0, 4)
    _rename_back(ledger)
    log.flush()
    assert (log.drops["refused"], len(kept(ledger))) == (1, 3)


def test_a_ledger_that_comes_back_gets_what_waited_and_its_trouble_was_told(
    log: EventLog, ledger: Ledger
) -> None:
    background = Background()
    log.start(background)
    ids = list(offer(log, batch(1, frozenset({0}))).values())
    until(lambda: len(kept(ledger)) == 1)
    with ledger.write() as connection:
        connection.execute(sa.text("ALTER TABLE events RENAME TO elsewhere"))
    ids += offer(log, batch(1, frozenset({0}))).values()
    until(background.problems)
    (problem,) = background.problems()
    assert "events" in problem.removeprefix("writing the event log waits: "), "what the database said of it"
    _rename_back(ledger)
    until(lambda: [event.event_id for event in kept(ledger)] == ids)
    until(lambda: background.problems() == [])
    log.stop()


def test_stopping_waits_for_a_ledger_that_comes_back(log: EventLog, ledger: Ledger) -> None:
    with ledger.write() as connection:
        connection.execute(sa.text("ALTER TABLE events RENAME TO elsewhere"))
    log.start(Background())
    ids = offer(log, batch(2, frozenset({0, 1})))
    time.sleep(0.5)  # at least one try has failed
    timer = _later(0.5, lambda: _rename_back(ledger))
    log.stop()
    timer.join()
    assert [event.event_id for event in kept(ledger)] == list(ids.values())
    assert log.dropped == 0


def test_what_a_ledger_that_stays_away_makes_of_a_stop_is_counted(log: EventLog, ledger: Ledger) -> None:
    log.start(Background())
    with ledger.write() as connection:
        connection.execute(sa.text("ALTER TABLE events RENAME TO elsewhere"))
    offer(log, batch(2, frozenset({0, 1})))
    log.stop(0.1)
    assert log.drops["stopped"] == 2
    _rename_back(ledger)
    assert kept(ledger) == []


def _rename_back(ledger: Ledger) -> None:
    with ledger.write() as connection:
        connection.execute(sa.text("ALTER TABLE elsewhere RENAME TO events"))


def _later(seconds: float, work: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, work)
    timer.start()
    return timer

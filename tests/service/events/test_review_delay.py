"""Kept events become candidates for review at once, in a flood a little later, and never not at all."""

import pytest

from nearnorm.service.background import Background
from nearnorm.service.events import review_delay
from nearnorm.service.events.log import EventLog
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.events.retention import Amount
from tests.service.events.test_candidates import standing
from tests.service.events.test_events import batch, offer

FLOOD = review_delay.FLOOD + 1


@pytest.fixture
def log(ledger: Ledger) -> EventLog:
    """Keeps alerts only, and writes when it is told to."""
    return EventLog(ledger, rate=0.0, bounds=Amount(1000, 10**9), days=1.0)


def all_alerts(log: EventLog, count: int, start: int) -> set[str]:
    """Offer so many records that differ from all others, every one an alert."""
    scored = batch(count, frozenset(range(count)))
    scored.encoded.rows.numeric = scored.encoded.rows.numeric + start
    return set(offer(log, scored).values())


def test_a_few_events_are_candidates_as_soon_as_they_are_in_the_ledger(log: EventLog, ledger: Ledger) -> None:
    ids = all_alerts(log, 3, 0)
    log.flush()
    assert standing(ledger) == ids


def test_in_a_flood_they_wait_for_each_other_until_it_pauses(log: EventLog, ledger: Ledger) -> None:
    ids = all_alerts(log, FLOOD, 0)
    log.flush()
    assert standing(ledger) == set()
    ids |= all_alerts(log, FLOOD, 1000)
    log.flush()
    assert standing(ledger) == set()
    log.flush()
    assert standing(ledger) == ids


@pytest.mark.parametrize(("name", "value"), [("MOST_ROWS", 2 * FLOOD), ("LONGEST", 0.0)])
def test_a_flood_without_a_pause_is_taken_in_by_number_and_by_time(
    log: EventLog, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, name: str, value: float
) -> None:
    ids = all_alerts(log, FLOOD, 0)
    log.flush()
    assert standing(ledger) == set()
    monkeypatch.setattr(review_delay, name, value)
    ids |= all_alerts(log, FLOOD, 1000)
    log.flush()
    assert standing(ledger) == ids


def test_what_a_killed_process_left_waiting_is_taken_up_by_the_next(log: EventLog, ledger: Ledger) -> None:
    ids = all_alerts(log, FLOOD, 0)
    log.flush()
    next_ = EventLog(ledger, rate=0.0, bounds=Amount(1000, 10**9), days=1.0)
    next_.start(Background())
    next_.stop()
    assert standing(ledger) == ids

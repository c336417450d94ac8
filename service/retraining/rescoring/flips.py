"""Flips: the kept events of the last days whose verdict a challenger would change.

Both versions score the same records, each at the budget in force. Counts are of the traffic that the events
stand for: one kept event counts by one over the probability of being kept.
"""

from collections.abc import Iterator

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.ids import first_id_at, now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.events.events import Event, events, fetch
from nearnorm.service.ledger.tables.job_flips import MOST_FLIPS, EventComparison, Flip
from nearnorm.service.retraining.rescoring.rescore import Rescored, Rescorer
from nearnorm.service.verdict import policies

CHUNK = 500  # events between two looks at the job: some tenths of a second
MOST_EVENTS = 5_000
PERIOD_MS = 7 * 24 * 3600 * 1000


def compare(ledger: Ledger, model: str, champion: Bundle, challenger: Bundle) -> Iterator[EventComparison]:
    """What the newest events of the last week tell, after each chunk of them: the last word is the whole.

    Raises NearnormError for a version that cannot score here.
    """
    versions = (champion, challenger)
    with ledger.read() as connection:
        shares = [policies.share_in_force(connection, bundle, model) for bundle in versions]
    before, after = (
        Rescorer(bundle, "auto", None, share, CHUNK) for bundle, share in zip(versions, shares, strict=True)
    )
    found = EventComparison(now_ms() - PERIOD_MS)
    for logged in _newest(ledger, model, found.since):
        was = before.rescore(logged)
        if was.events:
            found = _with(found, was, after.rescore(was.events), len(logged))
            yield found


def _newest(ledger: Ledger, model: str, since: int) -> Iterator[list[Event]]:
    """Events kept since then, newest first, in chunks."""
    last: str | None = None
    for _ in range(MOST_EVENTS // CHUNK):
        query = sa.select(events).where(events.c.model == model, events.c.event_id > first_id_at(since))
        if last is not None:
            query = query.where(events.c.event_id < last)
        with ledger.read() as connection:
            found = fetch(connection, query.order_by(events.c.event_id.desc()).limit(CHUNK))
        if found:
            yield found
        if len(found) < CHUNK:
            return
        last = found[-1].event_id


def _with(found: EventComparison, was: Rescored, now: Rescored, seen: int) -> EventComparison:
    """`found` and a chunk of `seen` events, of which `was` are read by the champion and `now` by both."""
    place = {event.event_id: i for i, event in enumerate(was.events)}
    which = np.array([place[event.event_id] for event in now.events], np.intp)
    percentile, anomaly = was.percentile[which], was.anomaly[which]
    weight = np.array([1 / event.probability for event in now.events])
    flips = [
        Flip(
            now.events[i].event_id,
            round(float(percentile[i]), 4),
            round(float(now.percentile[i]), 4),
            bool(anomaly[i]),
            bool(now.anomaly[i]),
        )
        for i in np.flatnonzero(anomaly != now.anomaly)
    ]
    strongest = sorted([*found.flips, *flips], key=_strength, reverse=True)[:MOST_FLIPS]
    return EventComparison(
        found.since,
        found.events + len(now.events),
        found.unfit + seen - len(now.events),
        found.rows + _sum(weight),
        found.champion + _sum(weight[anomaly]),
        found.challenger + _sum(weight[now.anomaly]),
        found.gained + _sum(weight[now.anomaly & ~anomaly]),
        found.lost + _sum(weight[anomaly & ~now.anomaly]),
        found.flipped + len(flips),
        strongest,
    )


def _strength(flip: Flip) -> float:
    return abs(flip.percentile_after - flip.percentile_before)


def _sum(weight: NDArray[np.float64]) -> int:
    return round(float(weight.sum()))

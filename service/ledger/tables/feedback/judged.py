"""Events with a verdict that stands: what thresholds are solved by.

What waits for a second opinion does not count.
"""

from typing import NamedTuple

import sqlalchemy as sa

from nearnorm.service.ledger.tables.events.events import events
from nearnorm.service.ledger.tables.feedback import second_opinions
from nearnorm.service.ledger.tables.feedback.labels import labels, verdicts

NEWEST = 2_000
"""Verdicts on alerts that are read of a version, the newest."""


class JudgedEvent(NamedTuple):
    """`probability` is that of an event like it being kept; `alerted`: whether it raised an alert; `drawn`:
    whether it was judged as one of the random slice, chosen by nobody."""

    score: float
    anomaly: bool
    probability: float
    alerted: bool
    drawn: bool = False


_stands = sa.and_(verdicts.c.verdict.in_(("anomaly", "normal")), ~second_opinions.is_waiting())
_drawn = sa.and_(
    events.c.audit,
    # who reports what was missed has the record or their own id
    sa.func.coalesce(labels.c.named_by, "event_id") == "event_id",
)
_CELLS = (
    events.c.score,
    (verdicts.c.verdict == "anomaly").label("verdict"),
    events.c.probability,
    events.c.anomaly,
)


def scored_by(connection: sa.Connection, model: str, version: str) -> list[JudgedEvent]:
    """Of each judged record the newest event that this version scored. It goes through all events."""
    query = (
        sa.select(events.c.digest, *_CELLS)
        .join(verdicts, sa.and_(verdicts.c.model == events.c.model, verdicts.c.digest == events.c.digest))
        .where(events.c.model == model, events.c.model_version == version, _stands)
        .order_by(events.c.event_id)
    )
    newest = {row.digest: row for row in connection.execute(query)}
    return [JudgedEvent(*row[1:]) for row in newest.values()]


def named_by_labels(
    connection: sa.Connection, model: str, version: str, most: int = NEWEST
) -> list[JudgedEvent]:
    """The events that standing labels name, the newest verdicts of those that this version scored: one a
    record, and `most` at most."""
    query = (
        sa.select(*_CELLS, _drawn)
        .select_from(verdicts)
        .join(labels, labels.c.feedback_id == verdicts.c.feedback_id)
        .join(events, events.c.event_id == labels.c.event_id)
        .where(verdicts.c.model == model, events.c.model_version == version, _stands)
        .order_by(verdicts.c.change.desc())
        .limit(most)
    )
    return [JudgedEvent(*row) for row in connection.execute(query)]

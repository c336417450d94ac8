"""Kept events that fit a filter, newest first: a bounded piece of the log at a time."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import sqlalchemy as sa
from msgspec import Struct

from nearnorm.service.ids import first_id_at
from nearnorm.service.ledger.tables.events.candidates import JUDGED
from nearnorm.service.ledger.tables.events.events import Event, events, fetch

MOST_SEARCHED = 20_000
"""Events that one search looks at."""
MOST_READ = 64 * 2**20
"""Bytes of events that one search looks at, about: records may be wide."""
MOST_FOUND = 4 * 2**20
"""Bytes of what is found, about; one event always fits."""
_STEP = 500


class FeatureRange(Struct, frozen=True):
    """What a feature's value has to be. `equals` is text, whatever the kind; empty: the value is missing."""

    name: str
    equals: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    def fits(self, record: dict[str, Any]) -> bool:
        value = record.get(self.name)
        if self.equals is not None and not _equals(value, self.equals):
            return False
        if self.at_least is None and self.at_most is None:
            return True
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return (self.at_least is None or value >= self.at_least) and (
            self.at_most is None or value <= self.at_most
        )


class EventFilter(Struct, frozen=True):
    """What is None filters nothing. `since` is the first millisecond, `until` the one after the last;
    percentiles are of the score, as it was then."""

    model: str
    record_id: str | None = None
    since: int | None = None
    until: int | None = None
    anomaly: bool | None = None
    audit: bool | None = None
    judged: bool | None = None
    prototype: int | None = None
    lowest: float | None = None
    highest: float | None = None
    feature: FeatureRange | None = None


class FoundEvents(Struct, frozen=True):
    """`last` is the id before which to go on; None: the log has no more. `stopped_at` is the time down to
    which was searched, where the search ended for its bounds before it had found enough."""

    events: list[Event]
    last: str | None = None
    stopped_at: int | None = None


class _Place(NamedTuple):
    event_id: str
    at: int
    size: int


def search(
    connection: sa.Connection, wanted: EventFilter, limit: int, before: str | None = None
) -> FoundEvents:
    """Up to `limit` events, from the id `before` downwards."""
    found: list[Event] = []
    place, room, which = None, MOST_FOUND, _conditions(wanted)
    for step in _steps(connection, wanted, before):
        place = step[-1]
        sizes = {one.event_id: one.size for one in step}
        query = sa.select(events).where(events.c.event_id.between(place.event_id, step[0].event_id), *which)
        query = query.order_by(events.c.event_id.desc())
        if wanted.feature is None:
            query = query.limit(limit - len(found))
        for event in fetch(connection, query):
            if wanted.feature is not None and not wanted.feature.fits(event.record):
                continue
            room -= sizes.get(event.event_id, 0)
            if found and room < 0:
                return FoundEvents(found, found[-1].event_id)
            found.append(event)
            if len(found) == limit:
                return FoundEvents(found, event.event_id)
    if place is None or not _is_there(connection, wanted, place.event_id):
        return FoundEvents(found)
    return FoundEvents(found, place.event_id, place.at)


def _steps(connection: sa.Connection, wanted: EventFilter, before: str | None) -> Iterator[list[_Place]]:
    """The log in pieces, newest first, until it or what one search may look at ends."""
    left, bytes_left = MOST_SEARCHED, MOST_READ
    while left > 0 and bytes_left > 0:
        query = _span(wanted, before).order_by(events.c.event_id.desc()).limit(min(_STEP, left))
        step: list[_Place] = []
        size = 0
        for row in connection.execute(query):
            place = _Place(row.event_id, row.at, row.size or 0)
            size += place.size
            if step and size > MOST_FOUND:
                break
            step.append(place)
        if not step:
            return
        yield step
        before = step[-1].event_id
        left -= len(step)
        bytes_left -= size


def _is_there(connection: sa.Connection, wanted: EventFilter, before: str) -> bool:
    return connection.execute(_span(wanted, before).limit(1)).first() is not None


def _span(wanted: EventFilter, before: str | None) -> sa.Select[Any]:
    """Where events may lie, by an index."""
    query = sa.select(events.c.event_id, events.c.at, events.c.size)
    if before is not None:
        query = query.where(events.c.event_id < before)
    if wanted.until is not None:
        query = query.where(events.c.event_id < first_id_at(wanted.until))
    if wanted.since is not None:
        query = query.where(events.c.event_id >= first_id_at(wanted.since))
    if wanted.record_id is not None:
        query = query.where(events.c.record_id == wanted.record_id)
    return query


def _conditions(wanted: EventFilter) -> list[sa.ColumnElement[bool]]:
    """What the database decides, of the events of a step."""
    which: list[sa.ColumnElement[bool]] = [events.c.model == wanted.model]
    for column, value in (
        (events.c.record_id, wanted.record_id),
        (events.c.prototype, wanted.prototype),
        (events.c.anomaly, wanted.anomaly),
        (events.c.audit, wanted.audit),
    ):
        if value is not None:
            which.append(column == value)
    if wanted.lowest is not None:
        which.append(events.c.percentile >= wanted.lowest)
    if wanted.highest is not None:
        which.append(events.c.percentile <= wanted.highest)
    if wanted.judged is not None:
        judged = JUDGED.format("events")
        which.append(sa.literal_column(judged if wanted.judged else f"NOT {judged}", sa.Boolean))
    return which


def _equals(value: object, text: str) -> bool:
    if value is None:
        return not text
    if isinstance(value, bool):
        return text == ("true" if value else "false")
    if isinstance(value, int | float):
        try:
            return float(text) == value
        except ValueError:
            return False
    return value == text

"""Events in the order they came -> their numbers, and what is kept of each key."""

from collections.abc import Callable, Iterable, Mapping

import msgspec
from msgspec import Struct

from nearnorm.models.aggregates.declaration import SECOND, Aggregates
from nearnorm.models.aggregates.key_events import KeyedEvent, KeyEvents, Row
from nearnorm.models.data.times import SECONDS_OF_A_DAY

KeyName = tuple[str, int]
"""A column of keys, and a key's digest."""
Ended = Callable[[KeyName, KeyEvents], object]
"""Who is told what is kept of a key after its last event."""
AHEAD = SECONDS_OF_A_DAY * SECOND
"""How far a time may be ahead of the clock here; beyond it is a wrong one, and not counted."""


class WindowCounts(Struct):
    """The numbers of each event, and the keys by which something was kept. How many events were kept, there
    already (`again`), kept though they came too late for others to see them (`late`, among those that were
    kept), and not kept as their clocks were `ahead`."""

    rows: list[Row] = []
    changed: set[KeyName] = msgspec.field(default_factory=set)
    kept: int = 0
    again: int = 0
    late: int = 0
    ahead: int = 0


def key_names(event: KeyedEvent, aggregates: Aggregates) -> list[KeyName]:
    """Those of the event's keys that are not missing."""
    pairs = zip(aggregates.keys, event.keys, strict=True)
    return [(column.name, key) for column, key in pairs if key is not None]


def numbers(event: KeyedEvent, aggregates: Aggregates, kept: Mapping[KeyName, KeyEvents]) -> Row:
    """The record's numbers: itself is not among what it counts."""
    row: Row = [None] * len(aggregates.features)
    for name in key_names(event, aggregates):
        kept[name].read(event.time, row)
    return row


def counted(
    events: Iterable[KeyedEvent], aggregates: Aggregates, kept: Mapping[KeyName, KeyEvents], now: int
) -> WindowCounts:
    """Each event sees those before it, and is kept by all of its keys, once, unless its clock is far ahead of
    `now` (microseconds since 1970)."""
    found = WindowCounts()
    for event in events:
        found.rows.append(numbers(event, aggregates, kept))
        if event.time > now + AHEAD:
            found.ahead += 1
            continue
        names = key_names(event, aggregates)
        is_late = any(kept[name].is_late(event.time) for name in names)
        fresh = [name for name in names if kept[name].count(event)]
        found.changed.update(fresh)
        found.kept += bool(fresh)
        found.late += bool(fresh) and is_late
        found.again += bool(names) and not fresh
    return found

"""Events counted over windows, whichever door they come by: what is kept is in the ledger, a line's own."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import sqlalchemy as sa
from msgspec import Raw

from nearnorm.models.aggregates.counting import Ended, KeyName, WindowCounts, key_names, numbers
from nearnorm.models.aggregates.counting import counted as counted_by
from nearnorm.models.aggregates.declaration import SECOND, Aggregates, KeyColumn
from nearnorm.models.aggregates.events import event_of
from nearnorm.models.aggregates.key_events import KeyedEvent, KeyEvents, Row
from nearnorm.models.data.times import SECONDS_OF_A_DAY
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables import aggregate_keys
from nearnorm.service.records.loose_json import decoded

MOST_EVENTS = 1_000
"""That are counted in one transaction."""
_MS = SECOND // 1_000
_KEYS_TOGETHER = 1_000


def event_of_sent(record: Mapping[str, object], aggregates: Aggregates) -> KeyedEvent:
    """Of a record whose values may still be JSON: one beyond float64 is then its column's mistake alone.

    Raises Uncountable, MalformedBody."""
    sent = {name: record[name] for name in aggregates.used & record.keys()}
    read = {n: decoded(bytes(v), n) if isinstance(v, Raw) else v for n, v in sent.items()}
    return event_of(read, aggregates)


def count_in(
    connection: sa.Connection, model: str, aggregates: Aggregates, events: Sequence[KeyedEvent]
) -> WindowCounts:
    """The numbers of each event, in their order, and keep it: once, however often it comes."""
    aggregate_keys.lock(connection, model)
    kept = _kept(connection, model, aggregates, events)
    found = counted_by(events, aggregates, kept, now_ms() * _MS)
    keep(connection, model, aggregates, {name: kept[name] for name in found.changed})
    return found


def look_up(
    connection: sa.Connection, model: str, aggregates: Aggregates, events: Sequence[KeyedEvent]
) -> list[Row]:
    """The numbers of each event, of which none is kept."""
    kept = _kept(connection, model, aggregates, events)
    return [numbers(event, aggregates, kept) for event in events]


def keep(
    connection: sa.Connection, model: str, aggregates: Aggregates, kept: dict[KeyName, KeyEvents]
) -> None:
    """Until none of it can be within a window, and a day more."""
    longest = max(column.span for column in aggregates.keys) // _MS
    until = now_ms() + longest + SECONDS_OF_A_DAY * 1_000
    aggregate_keys.put(connection, model, {name: one.dump() for name, one in kept.items()}, until)


@contextmanager
def taking_over(ledger: Ledger, model: str, aggregates: Aggregates) -> Iterator[Ended]:
    """What is told of the keys of a history is kept beside what is kept of them already."""
    waiting: dict[KeyName, KeyEvents] = {}

    def take() -> None:
        with ledger.write() as connection:
            aggregate_keys.lock(connection, model)
            stored = aggregate_keys.read(connection, model, waiting.keys())
            for name, found in stored.items():
                for event in KeyEvents(_columns(aggregates)[name[0]], found).events():
                    waiting[name].count(event)
            keep(connection, model, aggregates, waiting)
        waiting.clear()

    def ended(name: KeyName, kept: KeyEvents) -> None:
        waiting[name] = kept
        if len(waiting) >= _KEYS_TOGETHER:
            take()

    yield ended
    if waiting:
        take()


def _columns(aggregates: Aggregates) -> dict[str, KeyColumn]:
    return {column.name: column for column in aggregates.keys}


def _kept(
    connection: sa.Connection, model: str, aggregates: Aggregates, events: Collection[KeyedEvent]
) -> dict[KeyName, KeyEvents]:
    columns = _columns(aggregates)
    names = {name for event in events for name in key_names(event, aggregates)}
    stored = aggregate_keys.read(connection, model, names)
    return {name: KeyEvents(columns[name[0]], stored.get(name)) for name in names}

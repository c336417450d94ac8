"""Events: what was scored and kept. Every alert, and a random slice of all traffic."""

import itertools
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from nearnorm.service.ledger.database import Milliseconds, metadata, partial_index
from nearnorm.service.ledger.seen_lines import EVERY_LINE, SeenLines
from nearnorm.service.ledger.tables.events import candidates

events = sa.Table(
    "events",
    metadata,
    sa.Column("event_id", sa.Text, primary_key=True),  # sorts by time
    sa.Column("at", Milliseconds, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("model_version", sa.Text, nullable=False),
    sa.Column("record_id", sa.Text),  # the caller's
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("record", sa.Text, nullable=False),  # JSON: the values the model saw, by feature
    sa.Column("score", sa.DOUBLE_PRECISION, nullable=False),
    sa.Column("percentile", sa.DOUBLE_PRECISION, nullable=False),
    sa.Column("anomaly", sa.Boolean, nullable=False),
    sa.Column("prototype", sa.Integer, nullable=False),
    sa.Column("audit", sa.Boolean, nullable=False),  # drawn at random, alert or not
    sa.Column("probability", sa.DOUBLE_PRECISION, nullable=False),  # of being kept: 1 for an alert
    sa.Column("caller", sa.Text),  # the API key's name; null: kept before that was noted
    sa.Column("size", sa.Integer),  # bytes, about
    sa.Column("kept", sa.Text),  # JSON: texts of columns outside the model, which its schema keeps
    sa.Column("source", sa.Text),  # topic:partition:offset of the message that it came by, and its row
    partial_index(
        "events_by_record",
        "record_id",
        "event_id",
        postgresql="record_id IS NOT NULL",
        sqlite="record_id IS NOT NULL",
    ),
    partial_index(
        "events_of_audit",
        "model",
        "event_id",
        postgresql="audit",
        sqlite="audit = 1",
    ),
    partial_index(
        "events_by_source",
        "source",
        "model",
        postgresql="source IS NOT NULL",
        sqlite="source IS NOT NULL",
        unique=True,
    ),
    sa.Index("events_by_caller", "caller", "anomaly", "event_id", "size"),
    sa.Index("events_by_digest", "digest", "event_id"),
)

ROWS_A_STATEMENT = 500
MOST_EQUAL = 10_000


class Event(msgspec.Struct, frozen=True):
    """One row. `record` holds the values the model saw by feature; None is missing. `kept` are texts of
    columns outside the model, for whoever reviews it. `source` is the message that it came by."""

    event_id: str
    at: int
    model: str
    model_version: str
    record_id: str | None
    digest: str
    record: dict[str, Any]
    score: float
    percentile: float
    anomaly: bool
    prototype: int
    audit: bool
    probability: float
    caller: str | None = None
    size: int | None = None
    kept: dict[str, str] | None = None
    source: str | None = None


class EqualEvents(NamedTuple):
    """How many kept events there are of a record, and how many of them raised an alert."""

    events: int
    alerts: int


Row = tuple[Any, ...]
"""The cells of an event in the order of its columns; its record is JSON."""

_COLUMNS = ", ".join(events.c.keys())
_RECORD, SIZE, _KEPT = (events.c.keys().index(name) for name in ("record", "size", "kept"))
_MARKS = f"({', '.join('?' * len(events.c))})"
_CELLS = ", ".join(f"(e->>{i})::{column.type}" for i, column in enumerate(events.c))


def append(connection: sa.Connection, rows: Sequence[Row]) -> None:
    """Insert events; those that are there already stay, also of a message that was read again. The
    candidates are to follow.

    Many rows a statement: row by row, the driver would wait for Python's lock before each of them, and
    everybody who labels would wait for the driver. Not all at once: a statement's time is bounded.
    """
    insert = _insert_sqlite if connection.dialect.name == "sqlite" else _insert_postgres
    for start in range(0, len(rows), ROWS_A_STATEMENT):
        insert(connection, rows[start : start + ROWS_A_STATEMENT])


def _insert_sqlite(connection: sa.Connection, rows: Sequence[Row]) -> None:
    for part in parts(rows):
        connection.exec_driver_sql(
            f"INSERT INTO events ({_COLUMNS}) VALUES {', '.join([_MARKS] * len(part))} "  # noqa: S608
            "ON CONFLICT DO NOTHING",
            tuple(itertools.chain.from_iterable(part)),
        )


def _insert_postgres(connection: sa.Connection, rows: Sequence[Row]) -> None:
    """One parameter: thousands would take the driver longer than all the rest."""
    connection.exec_driver_sql(
        f"INSERT INTO events ({_COLUMNS}) SELECT {_CELLS} "  # noqa: S608
        "FROM json_array_elements(%s::json) AS e ON CONFLICT DO NOTHING",
        (msgspec.json.encode(rows).decode(),),
    )


def parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Of ten sizes: the driver keeps 128 statements, and those of hundreds of rows are large."""
    start = 0
    while left := len(rows) - start:
        size = min(ROWS_A_STATEMENT, 1 << (left.bit_length() - 1))
        yield rows[start : start + size]
        start += size


def find(connection: sa.Connection, event_id: str) -> Event | None:
    row = connection.execute(sa.select(events).where(events.c.event_id == event_id)).one_or_none()
    return None if row is None else read(row)


def find_source(connection: sa.Connection, model: str, source: str) -> Event | None:
    """What came by a message, or by a row of one."""
    query = sa.select(events).where(events.c.source == source, events.c.model == model)
    row = connection.execute(query).one_or_none()
    return None if row is None else read(row)


def of_record(connection: sa.Connection, model: str, record_id: str, most: int) -> list[Event]:
    """Of the last 1,000 events with a caller's own id the newest of each record and caller."""
    query = (
        sa.select(events.c.event_id, events.c.digest, events.c.caller)
        .where(events.c.record_id == record_id, events.c.model == model)
        .order_by(events.c.event_id.desc())
        .limit(1_000)
    )
    newest: dict[tuple[str, str | None], str] = {}
    for event_id, digest, caller in connection.execute(query).all():
        newest.setdefault((digest, caller), event_id)
    return list(of_ids(connection, list(newest.values())[:most]).values())


def newest_of_record(connection: sa.Connection, model: str, record_id: str, most: int) -> list[Event]:
    """The newest events with a caller's own id, newest first."""
    query = sa.select(events).where(events.c.record_id == record_id, events.c.model == model)
    return fetch(connection, query.order_by(events.c.event_id.desc()).limit(most))


def of_ids(connection: sa.Connection, ids: Collection[str]) -> dict[str, Event]:
    found = fetch(connection, sa.select(events).where(events.c.event_id.in_(ids)))
    return {event.event_id: event for event in found}


def fetch(connection: sa.Connection, query: sa.Select[Any]) -> list[Event]:
    return [read(row) for row in connection.execute(query)]


def digests_of(connection: sa.Connection, record_id: str, lines: SeenLines) -> list[str]:
    """The digests of the caller's record, in all its events of these lines."""
    query = sa.select(events.c.digest).where(_of_record(record_id, lines)).distinct()
    return list(connection.scalars(query))


def equal_to(connection: sa.Connection, model: str, digests: Sequence[str], first: str) -> EqualEvents:
    """Events of records, from id `first` on; MOST_EQUAL are counted."""
    equal = sa.and_(events.c.digest.in_(digests), events.c.event_id >= first, events.c.model == model)
    found = sa.select(events.c.anomaly).where(equal).limit(MOST_EQUAL).subquery()
    alerts = sa.func.coalesce(sa.func.sum(sa.case((found.c.anomaly, 1), else_=0)), 0)
    count, alerting = connection.execute(sa.select(sa.func.count(), alerts).select_from(found)).one()
    return EqualEvents(int(count), int(alerting))


def erase_record(connection: sa.Connection, record_id: str, lines: SeenLines = EVERY_LINE) -> int:
    theirs = _of_record(record_id, lines)
    candidates.forget(connection, sa.select(events.c.event_id).where(theirs))
    return connection.execute(sa.delete(events).where(theirs)).rowcount


def _of_record(record_id: str, lines: SeenLines) -> sa.ColumnElement[bool]:
    return sa.and_(events.c.record_id == record_id, lines.where(events.c.model))


def read(row: Sequence[Any]) -> Event:
    """The event of a row."""
    cells = [*row]
    cells[_RECORD] = msgspec.json.decode(cells[_RECORD])
    cells[_KEPT] = read_kept(cells[_KEPT])
    return Event(*cells)


def read_kept(json: str | None) -> dict[str, str] | None:
    """The cell of the column `kept`."""
    return None if json is None else msgspec.json.decode(json, type=dict[str, str])

"""Events: what was scored and kept. Every alert, and a random slice of all traffic."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec.structs import astuple

from service.ids import first_id_at
from service.ledger import candidates
from service.ledger.database import Milliseconds, metadata

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
    sa.Index(
        "events_by_record",
        "record_id",
        "event_id",
        postgresql_where=sa.text("record_id IS NOT NULL"),
        sqlite_where=sa.text("record_id IS NOT NULL"),
    ),
    sa.Index(
        "events_of_audit",
        "model",
        "event_id",
        postgresql_where=sa.text("audit"),
        sqlite_where=sa.text("audit = 1"),
    ),
)

ROWS_A_STATEMENT = 500
CHUNK = 5000  # rows deleted in one transaction, so that nobody waits long for the lock


class Event(msgspec.Struct, frozen=True):
    """One row. `record` holds the values the model saw by feature; None is missing."""

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


_COLUMNS = ", ".join(Event.__struct_fields__)
_ROW = f"({', '.join('?' * len(Event.__struct_fields__))})"


def append(connection: sa.Connection, kept: Sequence[Event]) -> None:
    """Insert events; those that are there already stay.

    Many rows a statement: row by row, the driver would wait for Python's lock before each of them, and
    everybody who labels would wait for the driver.
    """
    if not kept:
        return
    insert = _append_sqlite if connection.dialect.name == "sqlite" else _append_postgres
    insert(connection, kept)
    ids = [event.event_id for event in kept]
    candidates.follow(connection, min(ids), max(ids))


def _append_sqlite(connection: sa.Connection, kept: Sequence[Event]) -> None:
    for start in range(0, len(kept), ROWS_A_STATEMENT):
        part = kept[start : start + ROWS_A_STATEMENT]
        cells: list[object] = []
        for event in part:
            *before, record, score, percentile, anomaly, prototype, audit, probability = astuple(event)
            cells += (*before, msgspec.json.encode(record).decode())
            cells += (score, percentile, anomaly, prototype, audit, probability)
        values = ", ".join([_ROW] * len(part))
        connection.exec_driver_sql(
            f"INSERT INTO events ({_COLUMNS}) VALUES {values} ON CONFLICT DO NOTHING",  # noqa: S608
            tuple(cells),
        )


def _append_postgres(connection: sa.Connection, kept: Sequence[Event]) -> None:
    """One parameter, JSON: thousands would take the driver longer than all the rest."""
    connection.exec_driver_sql(
        f"INSERT INTO events ({_COLUMNS}) SELECT {_COLUMNS} "  # noqa: S608
        "FROM json_populate_recordset(NULL::events, %s::json) ON CONFLICT DO NOTHING",
        (msgspec.json.encode(kept).decode(),),
    )


def find(connection: sa.Connection, event_id: str) -> Event | None:
    row = connection.execute(sa.select(events).where(events.c.event_id == event_id)).one_or_none()
    return None if row is None else _event(row)


def newest_of(connection: sa.Connection, model: str, record_id: str) -> Event | None:
    """The newest event with the caller's own id."""
    query = (
        sa.select(events)
        .where(events.c.record_id == record_id, events.c.model == model)
        .order_by(events.c.event_id.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else _event(row)


def of_ids(connection: sa.Connection, ids: Collection[str]) -> dict[str, Event]:
    found = fetch(connection, sa.select(events).where(events.c.event_id.in_(ids)))
    return {event.event_id: event for event in found}


def fetch(connection: sa.Connection, query: sa.Select[Any]) -> list[Event]:
    return [_event(row) for row in connection.execute(query)]


def prune(connection: sa.Connection, before_ms: int, keep_rows: int) -> int:
    """Delete up to CHUNK events that are too old or too many; labels keep their copy. Answers how many."""
    count = connection.execute(sa.select(sa.func.count()).select_from(events)).scalar_one()
    surplus = min(max(0, count - keep_rows), CHUNK)
    oldest = sa.select(events.c.event_id).order_by(events.c.event_id)
    aged = oldest.where(events.c.event_id < first_id_at(before_ms)).limit(CHUNK)
    doomed = set(connection.scalars(aged))
    if surplus:
        doomed |= set(connection.scalars(oldest.limit(surplus)))
    if doomed:
        last = max(doomed)
        candidates.forget_until(connection, last)
        connection.execute(sa.delete(events).where(events.c.event_id <= last))
    return len(doomed)


def erase_record(connection: sa.Connection, record_id: str) -> int:
    candidates.forget_record(connection, record_id)
    return connection.execute(sa.delete(events).where(events.c.record_id == record_id)).rowcount


def _event(row: sa.Row[Any]) -> Event:
    values = row._asdict()
    values["record"] = msgspec.json.decode(values["record"])
    return Event(**values)

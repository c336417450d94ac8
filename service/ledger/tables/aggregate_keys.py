"""What is kept of each key that events are counted by: no names, but digests of them. One row a key."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from nearnorm.models.aggregates.counting import KeyName
from nearnorm.service.ledger.database import Milliseconds, insert, metadata
from nearnorm.service.ledger.seen_lines import EVERY_LINE, SeenLines

_TOGETHER = 500
"""Keys that one query asks for: SQLite takes no more than some thousand values."""

aggregate_keys = sa.Table(
    "aggregate_keys",
    metadata,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("key_column", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, primary_key=True),  # 16 hexadecimal digits
    sa.Column("events", sa.LargeBinary, nullable=False),  # as KeyEvents dumps them
    sa.Column("until", Milliseconds, nullable=False),  # when nothing of them is within a window
    sa.Index("aggregate_keys_by_end", "until"),
)


def lock(connection: sa.Connection, model: str) -> None:
    """Nobody else counts for the line until the transaction ends."""
    if connection.dialect.name == "postgresql":  # SQLite's writers wait for each other anyway
        number = sa.func.hashtextextended(f"aggregates {model}", 0)
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))


def read(connection: sa.Connection, model: str, keys: Collection[KeyName]) -> dict[KeyName, bytes]:
    """What is kept of those of the keys of which there is something."""
    found: dict[KeyName, bytes] = {}
    by_column: dict[str, list[str]] = {}
    for column, key in keys:
        by_column.setdefault(column, []).append(_hex(key))
    table = aggregate_keys.c
    for column, digests in by_column.items():
        for start in range(0, len(digests), _TOGETHER):
            some = digests[start : start + _TOGETHER]
            query = sa.select(table.digest, table.events)
            query = query.where(table.model == model, table.key_column == column, table.digest.in_(some))
            found |= {(column, int(row.digest, 16)): row.events for row in connection.execute(query)}
    return found


def put(connection: sa.Connection, model: str, kept: Mapping[KeyName, bytes], until: int) -> None:
    """In the place of what was kept of these keys."""
    if not kept:
        return
    fresh = insert(connection, aggregate_keys)
    newer = {name: fresh.excluded[name] for name in ("events", "until")}
    statement = fresh.on_conflict_do_update(index_elements=["model", "key_column", "digest"], set_=newer)
    rows = [
        {"model": model, "key_column": column, "digest": _hex(key), "events": events, "until": until}
        for (column, key), events in kept.items()
    ]
    connection.execute(statement, rows)


def with_bytes_of(
    connection: sa.Connection, digest: int, lines: SeenLines = EVERY_LINE
) -> Sequence[sa.Row[Any]]:
    """The rows whose events may be of a name with that digest. Looks at every row."""
    wanted, events = sa.literal(digest.to_bytes(8, "little")), aggregate_keys.c.events
    if connection.dialect.name == "sqlite":
        place = sa.func.instr(events, wanted)
    else:
        place = sa.func.position(wanted.op("IN")(events))
    return connection.execute(
        sa.select(aggregate_keys).where(place > 0, lines.where(aggregate_keys.c.model))
    ).all()


def replace(connection: sa.Connection, row: sa.Row[Any], events: bytes) -> None:
    """What is kept of a row that was read in this transaction."""
    table = aggregate_keys.c
    this = (table.model == row.model, table.key_column == row.key_column, table.digest == row.digest)
    connection.execute(sa.update(aggregate_keys).where(*this).values(events=events))


def erase_key(connection: sa.Connection, key: int, lines: SeenLines = EVERY_LINE) -> int:
    """All that is kept of a key, of whatever column; how many rows."""
    theirs = sa.and_(aggregate_keys.c.digest == _hex(key), lines.where(aggregate_keys.c.model))
    return connection.execute(sa.delete(aggregate_keys).where(theirs)).rowcount


def prune(connection: sa.Connection, now: int) -> None:
    """Delete what is over."""
    connection.execute(sa.delete(aggregate_keys).where(aggregate_keys.c.until <= now))


def _hex(digest: int) -> str:
    return f"{digest:016x}"

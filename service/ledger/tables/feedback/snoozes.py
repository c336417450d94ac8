"""Snoozes: records that nobody is to look at before a time, and why. One row a record."""

from collections.abc import Sequence

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict

from nearnorm.service.ledger.database import Milliseconds, insert, metadata
from nearnorm.service.ledger.seen_lines import EVERY_LINE, SeenLines

snoozes = sa.Table(
    "snoozes",
    metadata,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("event_id", sa.Text, nullable=False),  # as it was handed out
    sa.Column("actor", sa.Text, nullable=False),  # the API key that asked
    sa.Column("analyst", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("until", Milliseconds, nullable=False),
    sa.Index("snoozes_by_actor", "actor"),
    sa.Index("snoozes_by_end", "model", "until"),
)


class Snooze(Struct, frozen=True):
    """One row; `until` in ms since 1970."""

    model: str
    digest: str
    event_id: str
    actor: str
    analyst: str
    reason: str
    until: int


def put(connection: sa.Connection, snooze: Snooze) -> None:
    """In the place of an earlier one of the same record, whoever's it was."""
    fresh = insert(connection, snoozes).values(**asdict(snooze))
    newer = {name: fresh.excluded[name] for name in ("event_id", "actor", "analyst", "reason", "until")}
    connection.execute(fresh.on_conflict_do_update(index_elements=["model", "digest"], set_=newer))


def end(connection: sa.Connection, model: str, digest: str, now: int) -> bool:
    """Whether the record slept, which it does no more."""
    this = sa.and_(snoozes.c.model == model, snoozes.c.digest == digest, snoozes.c.until > now)
    return bool(connection.execute(sa.delete(snoozes).where(this)).rowcount)


def of_record(connection: sa.Connection, model: str, digest: str, now: int) -> Snooze | None:
    """None where the record does not sleep."""
    found = _read(connection, 1, snoozes.c.model == model, snoozes.c.digest == digest, now=now)
    return found[0] if found else None


def page(connection: sa.Connection, model: str, now: int, limit: int, after: tuple[int, str]) -> list[Snooze]:
    """Those behind the end and digest `after`; what wakes next comes first."""
    behind = sa.tuple_(snoozes.c.until, snoozes.c.digest) > sa.tuple_(*map(sa.literal, after))
    return _read(connection, limit, snoozes.c.model == model, behind, now=now)


def count_of_key(connection: sa.Connection, actor: str, now: int) -> int:
    """How many records an API key's analysts have put to sleep, of all models."""
    query = sa.select(sa.func.count()).select_from(snoozes)
    return int(connection.execute(query.where(snoozes.c.actor == actor, snoozes.c.until > now)).scalar_one())


def is_awake(model: str, digest: sa.ColumnElement[str], now: int) -> sa.ColumnElement[bool]:
    """Of a row with a digest: whether its record may be looked at."""
    return ~sa.exists().where(snoozes.c.model == model, snoozes.c.digest == digest, snoozes.c.until > now)


def erase_equal(connection: sa.Connection, digests: Sequence[str], lines: SeenLines = EVERY_LINE) -> None:
    """Forget records, of these lines."""
    connection.execute(sa.delete(snoozes).where(snoozes.c.digest.in_(digests), lines.where(snoozes.c.model)))


def erase_event(connection: sa.Connection, event_id: str, lines: SeenLines = EVERY_LINE) -> None:
    connection.execute(sa.delete(snoozes).where(snoozes.c.event_id == event_id, lines.where(snoozes.c.model)))


def erase_analyst(connection: sa.Connection, analyst: str, lines: SeenLines = EVERY_LINE) -> None:
    """What they put to sleep wakes, and their name is gone."""
    connection.execute(sa.delete(snoozes).where(snoozes.c.analyst == analyst, lines.where(snoozes.c.model)))


def prune(connection: sa.Connection, now: int) -> None:
    """Delete what is over."""
    connection.execute(sa.delete(snoozes).where(snoozes.c.until <= now))


def _read(connection: sa.Connection, limit: int, *which: sa.ColumnElement[bool], now: int) -> list[Snooze]:
    query = sa.select(snoozes).where(snoozes.c.until > now, *which)
    query = query.order_by(snoozes.c.until, snoozes.c.digest).limit(limit)
    return [Snooze(**row._mapping) for row in connection.execute(query)]

"""Skips: records that an analyst will not judge, and why. Others are still handed them."""

from collections.abc import Sequence

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict

from nearnorm.service.ledger.database import Milliseconds, insert, metadata
from nearnorm.service.ledger.seen_lines import EVERY_LINE, SeenLines
from nearnorm.service.ledger.tables.feedback.claims import Holder

skips = sa.Table(
    "skips",
    metadata,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("actor", sa.Text, primary_key=True),  # the API key that asked
    sa.Column("analyst", sa.Text, primary_key=True),
    sa.Column("event_id", sa.Text, nullable=False),  # as it was handed out
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("at", Milliseconds, nullable=False),
    sa.Index("skips_by_actor", "actor"),
)


class Skip(Struct, frozen=True):
    """One row."""

    model: str
    digest: str
    actor: str
    analyst: str
    event_id: str
    reason: str
    at: int


def put(connection: sa.Connection, skip: Skip) -> None:
    """In the place of what the analyst said of the record before."""
    fresh = insert(connection, skips).values(**asdict(skip))
    newer = {name: fresh.excluded[name] for name in ("event_id", "reason", "at")}
    keys = ["model", "digest", "actor", "analyst"]
    connection.execute(fresh.on_conflict_do_update(index_elements=keys, set_=newer))


def about(connection: sa.Connection, model: str, digest: str, most: int) -> list[Skip]:
    """The newest of one record."""
    query = sa.select(skips).where(skips.c.model == model, skips.c.digest == digest)
    query = query.order_by(skips.c.at.desc(), skips.c.actor, skips.c.analyst).limit(most)
    return [Skip(**row._mapping) for row in connection.execute(query)]


def counts(connection: sa.Connection, model: str, digests: Sequence[str]) -> dict[str, int]:
    """How many analysts skipped each of these records; nothing of those that nobody did."""
    query = sa.select(skips.c.digest, sa.func.count()).where(
        skips.c.model == model, skips.c.digest.in_(digests)
    )
    return {digest: int(count) for digest, count in connection.execute(query.group_by(skips.c.digest))}


def count_of_key(connection: sa.Connection, actor: str) -> int:
    query = sa.select(sa.func.count()).select_from(skips).where(skips.c.actor == actor)
    return int(connection.execute(query).scalar_one())


def is_skipped(model: str, digest: sa.ColumnElement[str], holder: Holder) -> sa.ColumnElement[bool]:
    """Of a row with a digest: whether this analyst skipped its record."""
    return sa.exists().where(
        skips.c.model == model,
        skips.c.digest == digest,
        skips.c.actor == holder.actor,
        skips.c.analyst == holder.analyst,
    )


def erase_equal(connection: sa.Connection, digests: Sequence[str], lines: SeenLines = EVERY_LINE) -> None:
    """Forget records, of these lines."""
    connection.execute(sa.delete(skips).where(skips.c.digest.in_(digests), lines.where(skips.c.model)))


def erase_event(connection: sa.Connection, event_id: str, lines: SeenLines = EVERY_LINE) -> None:
    connection.execute(sa.delete(skips).where(skips.c.event_id == event_id, lines.where(skips.c.model)))


def erase_analyst(connection: sa.Connection, analyst: str, lines: SeenLines = EVERY_LINE) -> None:
    connection.execute(sa.delete(skips).where(skips.c.analyst == analyst, lines.where(skips.c.model)))


def prune(connection: sa.Connection, before_ms: int) -> None:
    """Delete what is as old as events are kept."""
    connection.execute(sa.delete(skips).where(skips.c.at < before_ms))

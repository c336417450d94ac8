"""Labels that contradict what the models say strongly: they train nothing until they are confirmed.

One row a record. What it holds on to is one verdict; where another stands by now, it means nothing.
"""

import json
from collections.abc import Sequence

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict

from nearnorm.service.ledger.database import Milliseconds, insert, metadata
from nearnorm.service.ledger.tables.events.events import Event, events, read_kept
from nearnorm.service.ledger.tables.feedback.labels import labels, verdicts

second_opinions = sa.Table(
    "second_opinions",
    metadata,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("feedback_id", sa.Text, nullable=False),  # of the first who said so
    sa.Column("actor", sa.Text, nullable=False),  # the API key that brought it
    sa.Column("at", Milliseconds, nullable=False),
    sa.Column("change", sa.BigInteger, nullable=False),  # the clock's number of its transaction
    sa.Column("score", sa.DOUBLE_PRECISION, nullable=False),  # by the model that served then
    sa.Column("percentile", sa.DOUBLE_PRECISION, nullable=False),
    sa.Column("prototype", sa.Integer, nullable=False),
    sa.Column("model_version", sa.Text, nullable=False),
    sa.Column("confirmed", sa.BigInteger),  # the clock's number when it was
    sa.Index("second_opinions_by_actor", "actor", "at"),
)


class Doubt(Struct, frozen=True):
    """One row."""

    model: str
    digest: str
    label: str
    feedback_id: str
    actor: str
    at: int
    change: int
    score: float
    percentile: float
    prototype: int
    model_version: str
    confirmed: int | None = None


def put(connection: sa.Connection, doubts: Sequence[Doubt]) -> None:
    """In the place of what was doubted of their records before."""
    for doubt in doubts:
        fresh = insert(connection, second_opinions).values(**asdict(doubt))
        newer = {column.name: fresh.excluded[column.name] for column in second_opinions.c}
        connection.execute(fresh.on_conflict_do_update(index_elements=["model", "digest"], set_=newer))


def about(connection: sa.Connection, model: str, digests: Sequence[str]) -> dict[str, Doubt]:
    query = sa.select(second_opinions).where(
        second_opinions.c.model == model, second_opinions.c.digest.in_(digests)
    )
    return {row.digest: Doubt(**row._mapping) for row in connection.execute(query)}


def find(connection: sa.Connection, model: str, feedback_id: str) -> Event | None:
    """What waits, or waited, as if it had been scored: as an event that is named by its first label."""
    query = (
        sa.select(second_opinions, labels.c.record, labels.c.record_id, events.c.kept)
        .join(labels, labels.c.feedback_id == second_opinions.c.feedback_id)
        .outerjoin(events, events.c.event_id == labels.c.event_id)
    )
    query = query.where(second_opinions.c.model == model, second_opinions.c.feedback_id == feedback_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return Event(
        event_id=row.feedback_id,
        at=row.at,
        model=model,
        model_version=row.model_version,
        record_id=row.record_id,
        digest=row.digest,
        record=json.loads(row.record),
        score=row.score,
        percentile=row.percentile,
        anomaly=False,
        prototype=row.prototype,
        audit=False,
        probability=1.0,
        kept=read_kept(row.kept),
    )


def confirm(connection: sa.Connection, model: str, digests: Sequence[str], change: int) -> None:
    same = sa.and_(second_opinions.c.model == model, second_opinions.c.digest.in_(digests))
    connection.execute(sa.update(second_opinions).where(same).values(confirmed=change))


def erase(connection: sa.Connection, model: str, digests: Sequence[str]) -> None:
    same = sa.and_(second_opinions.c.model == model, second_opinions.c.digest.in_(digests))
    connection.execute(sa.delete(second_opinions).where(same))


def is_waiting() -> sa.ColumnElement[bool]:
    """Of a row of `verdicts`: whether it waits for a second opinion."""
    return sa.exists().where(_is_of_verdict(), second_opinions.c.confirmed.is_(None))


def confirmed_since(change: int) -> sa.ColumnElement[bool]:
    """Of a row of `verdicts`: whether it waited, and was confirmed after a number of the clock."""
    return sa.exists().where(_is_of_verdict(), second_opinions.c.confirmed > change)


def waiting(
    connection: sa.Connection,
    model: str,
    limit: int,
    after: str | None = None,
    *which: sa.ColumnElement[bool],
) -> list[Doubt]:
    """The oldest first; `after` is the feedback_id that the page before ended with. `which`: only those."""
    query = sa.select(second_opinions).join(verdicts, _is_of_verdict())
    query = query.where(second_opinions.c.model == model, second_opinions.c.confirmed.is_(None), *which)
    if after is not None:
        query = query.where(second_opinions.c.feedback_id > after)
    query = query.order_by(second_opinions.c.feedback_id).limit(limit)
    return [Doubt(**row._mapping) for row in connection.execute(query)]


def count(connection: sa.Connection, model: str, actor: str | None = None, since: int = 0) -> int:
    """How many records wait; of one key, and those that it sent since (ms) alone, where it is named."""
    query = sa.select(sa.func.count()).select_from(second_opinions.join(verdicts, _is_of_verdict()))
    query = query.where(second_opinions.c.model == model, second_opinions.c.confirmed.is_(None))
    if actor is not None:
        query = query.where(second_opinions.c.actor == actor, second_opinions.c.at >= since)
    return int(connection.execute(query).scalar_one())


def _is_of_verdict() -> sa.ColumnElement[bool]:
    return sa.and_(
        second_opinions.c.model == verdicts.c.model,
        second_opinions.c.digest == verdicts.c.digest,
        second_opinions.c.label == verdicts.c.verdict,
    )

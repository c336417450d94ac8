"""Candidates for review: the newest event of every kept record, in the order of rank.

The ledger's events are only ever added to, in the order of time. What is asked of them by rank stands
here, one row a record, so that neither equal records nor judged ones lie in the way of the next page.
"""

from collections.abc import Collection
from typing import Any, NamedTuple

import sqlalchemy as sa

from nearnorm.service.ids import first_id_at
from nearnorm.service.ledger.database import metadata, partial_index

_UNSURE_MS = 60_000

candidates = sa.Table(
    "candidates",
    metadata,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("percentile", sa.DOUBLE_PRECISION, nullable=False),
    sa.Column("score", sa.DOUBLE_PRECISION, nullable=False),
    sa.Column("audit", sa.Boolean, nullable=False),
    sa.Column("judged", sa.Boolean, nullable=False),  # a verdict stands
    sa.Column("caller", sa.Text, nullable=False, server_default=""),  # of the event; empty: not known
    sa.Column("size", sa.Integer, nullable=False, server_default="0"),  # of the event; 0: not known
    partial_index(
        "candidates_by_rank",
        "model",
        "caller",
        "percentile",
        "score",
        "event_id",
        postgresql="NOT judged",
        sqlite="judged = 0",
    ),
    partial_index(
        "candidates_of_audit",
        "model",
        "event_id",
        postgresql="audit AND NOT judged",
        sqlite="audit = 1 AND judged = 0",
    ),
    sa.Index("candidates_by_event", "event_id"),
    sqlite_with_rowid=False,
)

JUDGED = """EXISTS (
    SELECT 1 FROM verdicts
    WHERE verdicts.model = {0}.model AND verdicts.digest = {0}.digest AND verdicts.verdict <> 'none'
)"""
# Rows are locked in the order of their keys here and in `judge`, so that nobody deadlocks.
_FOLLOW = sa.text(
    f"""
    INSERT INTO candidates (model, digest, event_id, percentile, score, audit, judged, caller, size)
    SELECT model, digest, event_id, percentile, score, audit, {JUDGED.format("newest")},
        coalesce(caller, ''), coalesce(size, 0)
    FROM (
        SELECT model, digest, event_id, percentile, score, audit, caller, size,
            row_number() OVER (PARTITION BY model, digest ORDER BY event_id DESC) AS age
        FROM events WHERE event_id BETWEEN :first AND :last
    ) AS newest
    WHERE age = 1 ORDER BY model, digest
    ON CONFLICT (model, digest) DO UPDATE SET
        event_id = excluded.event_id, percentile = excluded.percentile, score = excluded.score,
        audit = excluded.audit, judged = excluded.judged, caller = excluded.caller, size = excluded.size
    WHERE excluded.event_id > candidates.event_id
    """  # noqa: S608 - names alone
)
_JUDGE = sa.text(
    f"UPDATE candidates SET judged = {JUDGED.format('candidates')} WHERE model = :model AND digest = :digest"  # noqa: S608
)


class Candidate(NamedTuple):
    """Where an event stands, whose it is and how large: enough to choose by."""

    event_id: str
    percentile: float
    score: float
    caller: str
    size: int


def follow(connection: sa.Connection, first: str, last: str) -> None:
    """Take in the events from id `first` to id `last`."""
    connection.execute(_FOLLOW, {"first": first, "last": last})


def take_up(connection: sa.Connection) -> None:
    """Take in what a process that was killed left behind, as far as the newest candidate tells since when."""
    newest = sa.text("SELECT at FROM events WHERE event_id = (SELECT max(event_id) FROM candidates)")
    at = connection.execute(newest).scalar() or 0
    follow(connection, first_id_at(max(at - _UNSURE_MS, 0)), first_id_at(2**48 - 1))


def judge(connection: sa.Connection, model: str, digests: Collection[str]) -> None:
    """Take in the verdicts on records, which were just changed."""
    if digests:
        connection.execute(_JUDGE, [{"model": model, "digest": digest} for digest in sorted(digests)])


def forget(connection: sa.Connection, event_ids: Collection[str] | sa.Select[tuple[str]]) -> None:
    """Leave out what stands for one of these events, before those are deleted."""
    connection.execute(sa.delete(candidates).where(candidates.c.event_id.in_(event_ids)))


Ranks = sa.Select[Any]
_COLUMNS = (
    candidates.c.event_id,
    candidates.c.percentile,
    candidates.c.score,
    candidates.c.caller,
    candidates.c.size,
)


def open_of(model: str) -> Ranks:
    """A model's records that nobody has given a standing verdict on.

    Of equal records the newest event counts: an older one has the score of an older model. `judged` may
    lag behind a verdict that is committed at the same moment on PostgreSQL, so verdicts are asked too.
    """
    unjudged = sa.text(f"NOT {JUDGED.format('candidates')}")
    return sa.select(*_COLUMNS).where(candidates.c.model == model, ~candidates.c.judged, unjudged)


def callers(connection: sa.Connection, model: str) -> list[str]:
    """Whose events stand unjudged. From one to the next by the index: events are many, callers few."""
    found: list[str] = []
    unjudged = sa.select(sa.func.min(candidates.c.caller)).where(
        candidates.c.model == model, ~candidates.c.judged
    )
    name = connection.execute(unjudged).scalar()
    while name is not None:
        found.append(name)
        name = connection.execute(unjudged.where(candidates.c.caller > name)).scalar()
    return found


def ranked(connection: sa.Connection, query: Ranks) -> list[Candidate]:
    return [Candidate._make(row) for row in connection.execute(query)]

"""Candidates for review: the newest event of every kept record, in the order of rank.

The ledger's events are only ever added to, in the order of time. What is asked of them by rank stands
here, one row a record, so that neither equal records nor judged ones lie in the way of the next page.
"""

from collections.abc import Collection
from typing import NamedTuple

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
    partial_index(
        "candidates_by_rank",
        "model",
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

_JUDGED = """EXISTS (
    SELECT 1 FROM verdicts
    WHERE verdicts.model = {0}.model AND verdicts.digest = {0}.digest AND verdicts.verdict <> 'none'
)"""
# Rows are locked in the order of their keys here and in `judge`, so that nobody deadlocks.
_FOLLOW = sa.text(
    f"""
    INSERT INTO candidates (model, digest, event_id, percentile, score, audit, judged)
    SELECT model, digest, event_id, percentile, score, audit, {_JUDGED.format("newest")}
    FROM (
        SELECT model, digest, event_id, percentile, score, audit,
            row_number() OVER (PARTITION BY model, digest ORDER BY event_id DESC) AS age
        FROM events WHERE event_id BETWEEN :first AND :last
    ) AS newest
    WHERE age = 1 ORDER BY model, digest
    ON CONFLICT (model, digest) DO UPDATE SET
        event_id = excluded.event_id, percentile = excluded.percentile, score = excluded.score,
        audit = excluded.audit, judged = excluded.judged
    WHERE excluded.event_id > candidates.event_id
    """  # noqa: S608 - names alone
)
_JUDGE = sa.text(
    f"UPDATE candidates SET judged = {_JUDGED.format('candidates')} WHERE model = :model AND digest = :digest"  # noqa: S608
)
_FORGET_RECORD = sa.text(
    "DELETE FROM candidates WHERE event_id IN (SELECT event_id FROM events WHERE record_id = :record_id)"
)


class Candidate(NamedTuple):
    """Where an event stands: enough to choose by, and all of it in an index."""

    event_id: str
    percentile: float
    score: float


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


def forget_until(connection: sa.Connection, last: str) -> None:
    """Leave out what stands for an event up to id `last`, before those are deleted."""
    connection.execute(sa.delete(candidates).where(candidates.c.event_id <= last))


def forget_record(connection: sa.Connection, record_id: str) -> None:
    """Leave out what stands for an event of the caller's record, before those are deleted."""
    connection.execute(_FORGET_RECORD, {"record_id": record_id})


def open_of(model: str) -> sa.Select[tuple[str, float, float]]:
    """A model's records that nobody has given a standing verdict on.

    Of equal records the newest event counts: an older one has the score of an older model. `judged` may
    lag behind a verdict that is committed at the same moment on PostgreSQL, so verdicts are asked too.
    """
    unjudged = sa.text(f"NOT {_JUDGED.format('candidates')}")
    ranks = sa.select(candidates.c.event_id, candidates.c.percentile, candidates.c.score)
    return ranks.where(candidates.c.model == model, ~candidates.c.judged, unjudged)


def ranked(connection: sa.Connection, query: sa.Select[tuple[str, float, float]]) -> list[Candidate]:
    return [Candidate._make(row) for row in connection.execute(query)]

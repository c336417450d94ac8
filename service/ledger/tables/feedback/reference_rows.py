"""Reference rows that people can review, by the version whose reference they stand in: its highest scores."""

import json
from collections.abc import Collection, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from nearnorm.models.bundle.review import Reviewable
from nearnorm.service.ids import new_ids, now_ms
from nearnorm.service.ledger.database import Milliseconds, insert, metadata
from nearnorm.service.ledger.tables.events.events import Event
from nearnorm.service.ledger.tables.feedback.labels import verdicts

reference_rows = sa.Table(
    "reference_rows",
    metadata,
    sa.Column("model_version", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("event_id", sa.Text, nullable=False, unique=True),  # what a label names
    sa.Column("at", Milliseconds, nullable=False),
    sa.Column("score", sa.DOUBLE_PRECISION, nullable=False),
    sa.Column("prototype", sa.Integer, nullable=False),
    sa.Column("record", sa.Text, nullable=False),  # JSON
)


class Place(NamedTuple):
    """Where a page of the review ended: the order is by score, then by digest, highest first."""

    score: float
    digest: str


class Review(NamedTuple):
    """How far the review of a version is."""

    rows: int
    judged: int


def put(connection: sa.Connection, version: str, rows: Sequence[Reviewable]) -> None:
    """Take in a version's reviewable rows; those that are there already stay as they are."""
    if not rows:
        return
    at = now_ms()
    values = [
        {
            "model_version": version,
            "digest": row.digest,
            "event_id": event_id,
            "at": at,
            "score": row.score,
            "prototype": row.prototype,
            "record": json.dumps(row.record, ensure_ascii=False),
        }
        for row, event_id in zip(rows, new_ids(len(rows)), strict=True)
    ]
    unique = {value["digest"]: value for value in reversed(values)}  # equal rows are reviewed once
    fresh = insert(connection, reference_rows).on_conflict_do_nothing(
        index_elements=["model_version", "digest"]
    )
    connection.execute(fresh, list(unique.values()))


def find(connection: sa.Connection, model: str, event_id: str) -> Event | None:
    """A row as if it had been scored: as an event of `model`."""
    query = sa.select(reference_rows).where(reference_rows.c.event_id == event_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else _event(row, model)


def progress(connection: sa.Connection, model: str, version: str) -> Review:
    """How many rows can be reviewed, and on how many a verdict stands."""
    judged = _verdict_stands(model)
    query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(sa.case((judged, 1), else_=0)), 0))
    rows, done = connection.execute(query.where(reference_rows.c.model_version == version)).one()
    return Review(int(rows), int(done))


def unjudged(
    connection: sa.Connection,
    model: str,
    version: str,
    limit: int,
    after: Place | None,
    *which: sa.ColumnElement[bool],
) -> list[tuple[Place, Event]]:
    """Rows that nobody has judged, the highest scores first. `which`: only those."""
    c = reference_rows.c
    query = sa.select(reference_rows).where(c.model_version == version, ~_verdict_stands(model), *which)
    if after is not None:
        below = sa.tuple_(c.score, c.digest) < sa.tuple_(sa.literal(after.score), sa.literal(after.digest))
        query = query.where(below)
    query = query.order_by(c.score.desc(), c.digest.desc()).limit(limit)
    return [(Place(row.score, row.digest), _event(row, model)) for row in connection.execute(query)]


def erase(connection: sa.Connection, event_id: str, versions: Collection[str] | None = None) -> int:
    """Forget one row's record, if it is of one of these versions (None: any). They stay as they are."""
    query = sa.delete(reference_rows).where(reference_rows.c.event_id == event_id, _of(versions))
    return connection.execute(query).rowcount


def erase_equal(
    connection: sa.Connection, digests: Sequence[str], versions: Collection[str] | None = None
) -> int:
    """Forget rows that hold the same record, of these versions (None: of all)."""
    query = sa.delete(reference_rows).where(reference_rows.c.digest.in_(digests), _of(versions))
    return connection.execute(query).rowcount if digests else 0


def _of(versions: Collection[str] | None) -> sa.ColumnElement[bool]:
    return sa.true() if versions is None else reference_rows.c.model_version.in_(versions)


def _verdict_stands(model: str) -> sa.ColumnElement[bool]:
    return sa.exists().where(
        verdicts.c.model == model,
        verdicts.c.digest == reference_rows.c.digest,
        verdicts.c.verdict.in_(("anomaly", "normal")),
    )


def _event(row: sa.Row[tuple[object, ...]], model: str) -> Event:
    """Drawn with certainty, as all of the top are. The percentile is its reader's: it changes by review."""
    return Event(
        event_id=row.event_id,
        at=row.at,
        model=model,
        model_version=row.model_version,
        record_id=None,
        digest=row.digest,
        record=json.loads(row.record),
        score=row.score,
        percentile=0.0,
        anomaly=False,
        prototype=row.prototype,
        audit=False,
        probability=1.0,
    )

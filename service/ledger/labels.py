"""Labels: what analysts said, one row a statement, never changed; and what it adds up to per record.

`labels` is the append-only book. `verdicts` is its sum: one row a record, rewritten in the same
transaction. Both carry the clock's number, so that whoever has read up to a number has missed nothing.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import sqlalchemy as sa

from service.ids import now_ms
from service.ledger.clock import tick
from service.ledger.database import Milliseconds, Number, insert, metadata

labels = sa.Table(
    "labels",
    metadata,
    sa.Column("number", Number, primary_key=True, autoincrement=True),
    sa.Column("feedback_id", sa.Text, nullable=False, unique=True),
    sa.Column("change", sa.BigInteger, nullable=False),  # the clock's number of its transaction
    sa.Column("at", Milliseconds, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),  # of the record's values; empty once erased
    sa.Column("label", sa.Text, nullable=False),  # anomaly, normal, or retract
    sa.Column("retracts", sa.Text),  # a feedback_id
    sa.Column("record", sa.Text, nullable=False),  # JSON: its own copy, as events do not live for ever
    sa.Column("event_id", sa.Text),
    sa.Column("record_id", sa.Text),
    sa.Column("analyst", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),  # the API key that brought it
    sa.Column("class", sa.Text),
    sa.Column("comment", sa.Text),
    sa.Column("score_before", sa.Double),
    sa.Column("score_after", sa.Double),
    sa.Column("score_held_out", sa.Double),
    sa.Column("job_id", sa.Text),  # the first job that trained on it
    sa.Column("model_version", sa.Text),  # what that job made
    sa.Index("labels_by_digest", "model", "digest"),
    sa.Index("labels_retracted", "retracts"),
    sa.Index("labels_by_job", "model", "job_id"),
    sa.Index("labels_by_change", "model", "change"),
    sqlite_autoincrement=True,
)

verdicts = sa.Table(
    "verdicts",
    metadata,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("verdict", sa.Text, nullable=False),  # anomaly, normal, conflict, or none
    sa.Column("feedback_id", sa.Text, nullable=False),  # the newest standing label, or the retraction
    sa.Column("at", Milliseconds, nullable=False),
    sa.Column("change", sa.BigInteger, nullable=False),
    sa.Index("verdicts_by_change", "model", "change"),
)

Verdict = Literal["anomaly", "normal", "conflict", "none"]
ERASED = ""


@dataclass(frozen=True, slots=True)
class Label:
    """One statement. `record` holds the values the model sees, by feature."""

    feedback_id: str
    at: int
    model: str
    digest: str
    label: str
    record: dict[str, Any]
    analyst: str
    actor: str
    retracts: str | None = None
    event_id: str | None = None
    record_id: str | None = None
    class_: str | None = None
    comment: str | None = None
    score_before: float | None = None
    score_after: float | None = None
    score_held_out: float | None = None
    job_id: str | None = None
    model_version: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What all that was said about one record adds up to; `record` is that of the label it names."""

    digest: str
    verdict: Verdict
    feedback_id: str
    at: int
    change: int
    record: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scores:
    """A record's scores by the champion that was, by the model that learnt from it, and by a fit that did
    not (None: there was none)."""

    before: float
    after: float
    held_out: float | None


_FIELDS = tuple(field.name for field in fields(Label))
_COLUMNS = tuple(name.rstrip("_") for name in _FIELDS)


def append(connection: sa.Connection, change: int, statements: Sequence[Label]) -> None:
    """Write statements and the verdicts they make, numbered by the clock."""
    rows = []
    for statement in statements:
        row = {column: getattr(statement, name) for column, name in zip(_COLUMNS, _FIELDS, strict=True)}
        rows.append({**row, "change": change, "record": json.dumps(statement.record, ensure_ascii=False)})
    if rows:
        connection.execute(sa.insert(labels), rows)
    for model in {statement.model for statement in statements}:
        _sum_up(connection, change, model, {s.digest for s in statements if s.model == model})


def find(connection: sa.Connection, feedback_id: str) -> Label | None:
    row = connection.execute(sa.select(labels).where(labels.c.feedback_id == feedback_id)).one_or_none()
    return None if row is None else _label(row)


def about(connection: sa.Connection, model: str, digests: Iterable[str]) -> dict[str, list[Label]]:
    """Everything said about records, in order, by digest."""
    said: dict[str, list[Label]] = defaultdict(list)
    wanted = sorted(set(digests) - {ERASED})
    for start in range(0, len(wanted), 500):
        query = (
            sa.select(labels)
            .where(labels.c.model == model, labels.c.digest.in_(wanted[start : start + 500]))
            .order_by(labels.c.number)
        )
        for row in connection.execute(query):
            said[row.digest].append(_label(row))
    return said


def standing(said: Iterable[Label]) -> list[Label]:
    """The newest statement of each analyst, retractions and what they took back left out; oldest first.

    A retraction does not bring back what its analyst had said earlier and corrected since.
    """
    newest: dict[str, Label] = {}
    gone: set[str | None] = set()
    for statement in said:
        if statement.label == "retract":
            gone.add(statement.retracts)
        else:
            newest.pop(statement.analyst, None)
            newest[statement.analyst] = statement
    return [statement for statement in newest.values() if statement.feedback_id not in gone]


def verdict_of(stand: Sequence[Label]) -> Verdict:
    said = {statement.label for statement in stand}
    if not said:
        return "none"
    if len(said) > 1:
        return "conflict"
    return "anomaly" if "anomaly" in said else "normal"


def changed_since(connection: sa.Connection, model: str, change: int) -> list[Standing]:
    """Verdicts newer than a number of the clock, oldest first."""
    query = (
        sa.select(verdicts, labels.c.record)
        .join(labels, labels.c.feedback_id == verdicts.c.feedback_id)
        .where(verdicts.c.model == model, verdicts.c.change > change)
        .order_by(verdicts.c.change)
    )
    return [
        Standing(r.digest, r.verdict, r.feedback_id, r.at, r.change, json.loads(r.record))
        for r in connection.execute(query)
    ]


def learnt(
    connection: sa.Connection, model: str, up_to: int, job_id: str, version: str, scores: Mapping[str, Scores]
) -> None:
    """Fill in the receipts of what a job has read and no job before it had."""
    query = (
        sa.select(labels.c.feedback_id, labels.c.digest, verdicts.c.verdict)
        .join(verdicts, sa.and_(verdicts.c.model == labels.c.model, verdicts.c.digest == labels.c.digest))
        .where(labels.c.model == model, labels.c.change <= up_to, labels.c.job_id.is_(None))
        .where(verdicts.c.verdict != "conflict")
    )
    for feedback_id, digest, verdict in connection.execute(query).all():
        found = scores.get(digest)
        if found is None and verdict != "none":
            continue  # its record did not fit
        values: dict[str, Any] = {"job_id": job_id, "model_version": version}
        if found is not None:
            values |= {
                "score_before": sa.func.coalesce(labels.c.score_before, found.before),
                "score_after": found.after,
                "score_held_out": found.held_out,
            }
        same = labels.c.feedback_id == feedback_id
        connection.execute(sa.update(labels).where(same).values(values))


def erase_record(connection: sa.Connection, record_id: str) -> int:
    """Blank every label about the caller's record: the receipt stays, the person's data go."""
    doomed = [
        _label(row) for row in connection.execute(sa.select(labels).where(labels.c.record_id == record_id))
    ]
    if not doomed:
        return 0
    change = tick(connection, "labels")
    for model in {label.model for label in doomed}:
        digests = {label.digest for label in doomed if label.model == model} - {ERASED}
        same = sa.and_(labels.c.model == model, labels.c.digest.in_(digests))
        blank = sa.update(labels).values(
            digest=ERASED, record="{}", event_id=None, record_id=None, comment=None, change=change
        )
        connection.execute(blank.where(sa.or_(same, labels.c.record_id == record_id)))
        gone = sa.and_(verdicts.c.model == model, verdicts.c.digest.in_(digests))
        connection.execute(sa.update(verdicts).where(gone).values(verdict="none", change=change, at=now_ms()))
    return len(doomed)


def erase_analyst(connection: sa.Connection, analyst: str, pseudonym: str) -> int:
    """Their verdicts stay, under a pseudonym; their name and their words go."""
    theirs = labels.c.analyst == analyst
    blank = sa.update(labels).where(theirs).values(analyst=pseudonym, comment=None)
    return connection.execute(blank).rowcount


def prune(connection: sa.Connection, before_ms: int) -> None:
    """Drop verdicts that were taken back or erased, once every replica has heard of it."""
    over = sa.and_(verdicts.c.verdict == "none", verdicts.c.at < before_ms)
    connection.execute(sa.delete(verdicts).where(over))


def _sum_up(connection: sa.Connection, change: int, model: str, digests: set[str]) -> None:
    rows = []
    for digest, said in about(connection, model, digests).items():
        stand = standing(said)
        last = (stand or said)[-1]
        rows.append(
            {
                "model": model,
                "digest": digest,
                "verdict": verdict_of(stand),
                "feedback_id": last.feedback_id,
                "at": last.at,
                "change": change,
            }
        )
    if rows:
        fresh = insert(connection, verdicts)
        told = {name: fresh.excluded[name] for name in ("verdict", "feedback_id", "at", "change")}
        connection.execute(fresh.on_conflict_do_update(index_elements=["model", "digest"], set_=told), rows)


def _label(row: sa.Row[Any]) -> Label:
    values = row._mapping
    found = {name: values[column] for column, name in zip(_COLUMNS, _FIELDS, strict=True)}
    return Label(**{**found, "record": json.loads(found["record"])})

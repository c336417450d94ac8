"""Labels: what analysts said, one row a statement, never changed; and what it adds up to per record.

`labels` is the append-only book. `verdicts` is its sum: one row a record, rewritten in the same
transaction. Both carry the clock's number, so that whoever has read up to a number has missed nothing.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict, fields

from nearnorm.models.retraining import LearntRecord, Placement
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.database import Milliseconds, Number, insert, metadata
from nearnorm.service.ledger.label_history import Label, LabelHistory, Statement, Verdict
from nearnorm.service.ledger.tables.events import candidates
from nearnorm.service.ledger.tables.feedback import quarantine
from nearnorm.service.ledger.tables.feedback.quarantine import LabellerKind, is_silenced

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
    sa.Column("named_by", sa.Text),  # event_id, record_id or record; null: said before that was noted
    *(
        sa.Column(f"{name}_{when}", kind)
        for when in ("before", "after", "held_out")
        for name, kind in (("percentile", sa.Double), ("anomaly", sa.Boolean))
    ),
    sa.Column("group_id", sa.Text),  # of the verdict on a group of records that it was given with
    sa.Index("labels_by_digest", "model", "digest"),
    sa.Index("labels_by_group", "group_id"),
    sa.Index("labels_retracted", "retracts"),
    sa.Index("labels_by_job", "model", "job_id"),
    sa.Index("labels_by_change", "model", "change"),
    sa.Index("labels_by_analyst", "analyst", "actor", "at"),
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

ERASED = ""


class Standing(Struct, frozen=True):
    """What all that was said about one record adds up to; `record` is that of the label it names, as JSON:
    a service holds one for every record that was judged."""

    digest: str
    verdict: Verdict
    feedback_id: str
    at: int
    change: int
    record: str


_FIELDS = tuple(field.name for field in fields(Label))
_COLUMNS = tuple(name.rstrip("_") for name in _FIELDS)
_SAID = (labels.c.digest, *(labels.c[field.name] for field in fields(Statement)))


Histories = Mapping[str, LabelHistory]
"""What was said about records, by digest."""


def append(
    connection: sa.Connection, change: int, statements: Sequence[Label], before: Histories | None = None
) -> Histories:
    """Write statements of one model and the verdicts they make, numbered by the clock; what is said now.

    `before`: what was said of their records, where that was read in this transaction already.
    """
    if not statements:
        return {}
    rows = []
    by_digest: dict[str, list[Label]] = defaultdict(list)
    for statement in statements:
        row = {column: getattr(statement, name) for column, name in zip(_COLUMNS, _FIELDS, strict=True)}
        rows.append({**row, "change": change, "record": json.dumps(statement.record, ensure_ascii=False)})
        by_digest[statement.digest].append(statement)
    model = statements[0].model
    if before is None:
        before = about(connection, model, by_digest)
    silenced = quarantine.silenced(connection, model)
    histories = {
        digest: before.get(digest, LabelHistory([], silenced)).followed_by(new, change)
        for digest, new in by_digest.items()
    }
    connection.execute(sa.insert(labels), rows)
    _write_verdicts(connection, change, model, histories)
    return histories


def find(connection: sa.Connection, feedback_id: str) -> Label | None:
    row = connection.execute(sa.select(labels).where(labels.c.feedback_id == feedback_id)).one_or_none()
    return None if row is None else _label(row)


def events_of(connection: sa.Connection, feedback_ids: Collection[str]) -> dict[str, str]:
    """The events that labels named, by feedback_id; not all of them name one."""
    query = sa.select(labels.c.feedback_id, labels.c.event_id).where(
        labels.c.feedback_id.in_(feedback_ids), labels.c.event_id.is_not(None)
    )
    found: dict[str, str] = dict(iter(connection.execute(query)))
    return found


def newest(
    connection: sa.Connection,
    model: str,
    actor: str | None,
    analyst: str | None,
    limit: int,
    before: int | None,
) -> list[tuple[int, Label]]:
    """What a key brought in and an analyst said (None: any), with its number; newest first, from the one
    before number `before`."""
    query = sa.select(labels).where(labels.c.model == model)
    if actor is not None:
        query = query.where(labels.c.actor == actor)
    if analyst is not None:
        query = query.where(labels.c.analyst == analyst)
    if before is not None:
        query = query.where(labels.c.number < before)
    rows = connection.execute(query.order_by(labels.c.number.desc()).limit(limit)).all()
    return [(row.number, _label(row)) for row in rows]


def of_group(connection: sa.Connection, group_id: str) -> list[Label]:
    """The labels that one verdict gave, in order; empty where there was none."""
    query = sa.select(labels).where(labels.c.group_id == group_id).order_by(labels.c.number)
    return [_label(row) for row in connection.execute(query)]


def retracted(connection: sa.Connection, group_id: str) -> set[str]:
    """The labels of one verdict on a group that were taken back."""
    own = sa.select(labels.c.feedback_id).where(labels.c.group_id == group_id)
    return {
        str(id_) for id_ in connection.scalars(sa.select(labels.c.retracts).where(labels.c.retracts.in_(own)))
    }


def anomalies(connection: sa.Connection, model: str, digests: Iterable[str]) -> frozenset[str]:
    """Those of the records, a few hundred, that stand as confirmed anomalies."""
    query = sa.select(verdicts.c.digest).where(
        verdicts.c.model == model, verdicts.c.digest.in_(list(digests)), verdicts.c.verdict == "anomaly"
    )
    return frozenset(connection.scalars(query))


def about(connection: sa.Connection, model: str, digests: Iterable[str]) -> Histories:
    """All that was said about records, by digest. Not what else is stored with it: that may be much."""
    statements: dict[str, list[Statement]] = defaultdict(list)
    wanted = sorted(set(digests) - {ERASED})
    for start in range(0, len(wanted), 500):
        query = (
            sa.select(*_SAID)
            .where(labels.c.model == model, labels.c.digest.in_(wanted[start : start + 500]))
            .order_by(labels.c.number)
        )
        for digest, *columns in connection.execute(query).all():  # one by one takes twice the time
            statements[digest].append(Statement(*columns))
    silenced = quarantine.silenced(connection, model)
    return {digest: LabelHistory(found, silenced) for digest, found in statements.items()}


def newest_about(connection: sa.Connection, model: str, digest: str, most: int) -> list[Label]:
    """What was said last about one record, newest first, with all that is stored with it."""
    query = sa.select(labels).where(labels.c.model == model, labels.c.digest == digest)
    return [_label(row) for row in connection.execute(query.order_by(labels.c.number.desc()).limit(most))]


def rate(connection: sa.Connection, analyst: str, actor: str, since: int, until: int) -> tuple[int, int]:
    """How many statements an analyst sent by a key in a time, and when the first of them came."""
    theirs = sa.and_(labels.c.analyst == analyst, labels.c.actor == actor, labels.c.at.between(since, until))
    query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.min(labels.c.at), until)).where(theirs)
    count, oldest = connection.execute(query).one()
    return int(count), int(oldest)


def records_of(
    connection: sa.Connection, kind: LabellerKind, name: str, model: str | None = None
) -> dict[str, set[str]]:
    """The records that somebody spoke of, as digests by model: by this one alone, or (None) all."""
    whose = labels.c.analyst if kind == "analyst" else labels.c.actor
    found: dict[str, set[str]] = defaultdict(set)
    query = sa.select(labels.c.model, labels.c.digest).where(whose == name).distinct()
    if model is not None:
        query = query.where(labels.c.model == model)
    for of, digest in connection.execute(query):
        found[of].add(digest)
    return found


def changed_since(connection: sa.Connection, model: str, change: int) -> list[Standing]:
    """Verdicts newer than a number of the clock, oldest first."""
    query = (
        sa.select(verdicts, labels.c.record)
        .join(labels, labels.c.feedback_id == verdicts.c.feedback_id)
        .where(verdicts.c.model == model, verdicts.c.change > change)
        .order_by(verdicts.c.change)
    )
    return [
        Standing(r.digest, r.verdict, r.feedback_id, r.at, r.change, r.record)
        for r in connection.execute(query)
    ]


def models_changed_since(connection: sa.Connection, models: Collection[str], change: int) -> set[str]:
    """Those of the models that have verdicts newer than a number of the clock."""
    newer = sa.select(verdicts.c.model).where(verdicts.c.model.in_(models), verdicts.c.change > change)
    return set(connection.scalars(newer.distinct()))


def learnt(
    connection: sa.Connection,
    model: str,
    up_to: int,
    job_id: str,
    version: str,
    records: Iterable[LearntRecord],
) -> None:
    """Fill in the receipts of what a job has read and no job before it had."""
    by_digest = {record.digest: record for record in records}
    query = (
        sa.select(labels.c.feedback_id, labels.c.digest, labels.c.score_before, verdicts.c.verdict)
        .join(verdicts, sa.and_(verdicts.c.model == labels.c.model, verdicts.c.digest == labels.c.digest))
        .where(labels.c.model == model, labels.c.change <= up_to, labels.c.job_id.is_(None))
        .where(
            verdicts.c.verdict != "conflict", ~is_silenced(labels.c.model, labels.c.analyst, labels.c.actor)
        )
    )
    for feedback_id, digest, scored, verdict in connection.execute(query).all():
        found = by_digest.get(digest)
        if found is None and verdict != "none":
            continue  # its record did not fit
        values: dict[str, Any] = {"job_id": job_id, "model_version": version}
        if found is not None:
            if scored is None:  # otherwise it stays as its event had it
                values |= _cells("before", found.before)
            values |= _cells("after", found.after) | _cells("held_out", found.held_out)
        same = labels.c.feedback_id == feedback_id
        connection.execute(sa.update(labels).where(same).values(values))


def _cells(when: str, placement: Placement | None) -> dict[str, Any]:
    return {f"{name}_{when}": value for name, value in asdict(placement).items()} if placement else {}


def sum_up(connection: sa.Connection, change: int, model: str, digests: set[str]) -> None:
    """Rewrite the verdicts on records, numbered by the clock."""
    _write_verdicts(connection, change, model, about(connection, model, digests))


def _write_verdicts(connection: sa.Connection, change: int, model: str, histories: Histories) -> None:
    rows = []
    for digest, history in histories.items():
        last = (history.standing or history.statements)[-1]
        rows.append(
            {
                "model": model,
                "digest": digest,
                "verdict": history.verdict,
                "feedback_id": last.feedback_id,
                "at": last.at if history.standing else now_ms(),  # see erasure.prune
                "change": change,
            }
        )
    if rows:
        fresh = insert(connection, verdicts)
        newer = {name: fresh.excluded[name] for name in ("verdict", "feedback_id", "at", "change")}
        connection.execute(fresh.on_conflict_do_update(index_elements=["model", "digest"], set_=newer), rows)
        candidates.judge(connection, model, histories.keys())


def _label(row: sa.Row[Any]) -> Label:
    values = row._mapping
    found = {name: values[column] for column, name in zip(_COLUMNS, _FIELDS, strict=True)}
    return Label(**{**found, "record": json.loads(found["record"])})

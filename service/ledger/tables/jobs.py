"""Retraining jobs: one row a job, and a lease for the worker that runs it.

A job is in the ledger as soon as the label that made it due is: one transaction. At most one job of a
model waits and one runs; indexes keep it so, whatever the number of services and workers. A worker
holds its job by a lease that it renews; every change it makes names the worker, so that one that was
taken for dead cannot write over its successor.
"""

import json
import re
from collections.abc import Collection, Sequence
from typing import Any, Literal

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import fields

from nearnorm.service.ledger.database import Milliseconds, insert, metadata, partial_index
from nearnorm.service.ledger.seen_lines import SeenLines
from nearnorm.service.ledger.tables.webhooks import outbox

LONGEST_LEASE = 60_000  # ms

State = Literal["queued", "running", "succeeded", "refused", "failed", "cancelled"]
ENDED: tuple[State, ...] = ("succeeded", "refused", "failed", "cancelled")

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("job_id", sa.Text, primary_key=True),  # sorts by time
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("progress", sa.Double, nullable=False),  # 0 to 1
    sa.Column("cause", sa.Text, nullable=False),  # labels, or request
    sa.Column("requested_by", sa.Text, nullable=False),
    sa.Column("release", sa.Text, nullable=False),  # of the service that asked for it
    sa.Column("at", Milliseconds, nullable=False),
    sa.Column("not_before", Milliseconds, nullable=False),
    sa.Column("started_at", Milliseconds),
    sa.Column("ended_at", Milliseconds),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("worker", sa.Text),
    sa.Column("lease", Milliseconds),  # until when the worker is taken to be alive
    sa.Column("cancelled_by", sa.Text),
    sa.Column("watermark", sa.BigInteger),  # the labels' clock up to which it has read
    sa.Column("digest", sa.Text),  # of the snapshot it trained on
    sa.Column("champion", sa.Text),  # the version it was measured against
    sa.Column("version", sa.Text),  # what it made
    sa.Column("activated", sa.Boolean, nullable=False),
    sa.Column("reasons", sa.Text, nullable=False),  # JSON: sentences
    sa.Column("evidence", sa.Text, nullable=False),  # JSON: the gate's figures
    sa.Column("log", sa.Text, nullable=False),  # its tail
    partial_index(
        "jobs_waiting",
        "model",
        unique=True,
        sqlite="state = 'queued'",
        postgresql="state = 'queued'",
    ),
    partial_index(
        "jobs_running",
        "model",
        unique=True,
        sqlite="state = 'running'",
        postgresql="state = 'running'",
    ),
    sa.Index("jobs_by_version", "version"),
)

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("worker", sa.Text, primary_key=True),
    sa.Column("release", sa.Text, nullable=False),
    sa.Column("seen", Milliseconds, nullable=False),
)


class Job(Struct, frozen=True):
    """One row. Times are milliseconds since 1970."""

    job_id: str
    model: str
    state: State
    stage: str
    progress: float
    cause: Literal["labels", "request"]
    requested_by: str
    release: str
    at: int
    not_before: int
    started_at: int | None = None
    ended_at: int | None = None
    attempts: int = 0
    worker: str | None = None
    lease: int | None = None
    cancelled_by: str | None = None
    watermark: int | None = None
    digest: str | None = None
    champion: str | None = None
    version: str | None = None
    activated: bool = False
    reasons: tuple[str, ...] = ()
    evidence: dict[str, Any] | None = None
    log: str = ""


_NAMES = tuple(field.name for field in fields(Job))


def add(connection: sa.Connection, job: Job) -> Job:
    """Let the job wait; where one waits already, that one is answered instead."""
    row = {name: getattr(job, name) for name in _NAMES}
    row |= {"reasons": json.dumps(job.reasons), "evidence": json.dumps(job.evidence or {})}
    connection.execute(insert(connection, jobs).on_conflict_do_nothing(), [row])
    there = waiting(connection, job.model) or job
    if there.job_id == job.job_id:
        _announce(connection, job.job_id)
    return there


def find(connection: sa.Connection, job_id: str) -> Job | None:
    return _one(connection, sa.select(jobs).where(jobs.c.job_id == job_id))


def waiting(connection: sa.Connection, model: str) -> Job | None:
    return _one(connection, sa.select(jobs).where(jobs.c.model == model, jobs.c.state == "queued"))


def running(connection: sa.Connection, model: str) -> Job | None:
    return _one(connection, sa.select(jobs).where(jobs.c.model == model, jobs.c.state == "running"))


def newest(
    connection: sa.Connection, limit: int, before: str | None, model: str | None, lines: SeenLines
) -> list[Job]:
    """Newest first, of what is seen; `before` is the last job_id of the page before."""
    query = sa.select(jobs).where(lines.where(jobs.c.model)).order_by(jobs.c.job_id.desc()).limit(limit)
    if before is not None:
        query = query.where(jobs.c.job_id < before)
    if model is not None:
        query = query.where(jobs.c.model == model)
    return [_job(row) for row in connection.execute(query)]


def counted(connection: sa.Connection, but: Collection[str]) -> dict[str, int]:
    """Jobs by state, without those of some models."""
    others = sa.select(jobs.c.state, sa.func.count()).where(jobs.c.model.not_in(but))
    return dict(iter(connection.execute(others.group_by(jobs.c.state))))


def of_version(connection: sa.Connection, version: str) -> Job | None:
    """The newest job that made this version."""
    query = sa.select(jobs).where(jobs.c.version == version).order_by(jobs.c.job_id.desc()).limit(1)
    return _one(connection, query)


def lines_of(connection: sa.Connection, version: str) -> set[str]:
    """The models whose retrainings made this version."""
    return set(connection.scalars(sa.select(jobs.c.model).where(jobs.c.version == version)))


def versions_of(connection: sa.Connection, lines: SeenLines) -> set[str]:
    """What the retrainings of these lines made."""
    query = sa.select(jobs.c.version).where(jobs.c.version.is_not(None), lines.where(jobs.c.model))
    return {str(version) for version in connection.scalars(query.distinct())}


def made_of(connection: sa.Connection, model: str, version: str) -> frozenset[str]:
    """A version, what a model's retrainings made of it, what they made of that, and so on."""
    ours = sa.and_(jobs.c.model == model, jobs.c.version.is_not(None))
    query = sa.select(jobs.c.champion, jobs.c.version).where(ours).order_by(jobs.c.job_id)
    found = {version}
    for champion, made in connection.execute(query):
        if champion in found:
            found.add(made)
    return frozenset(found)


def was_asked(connection: sa.Connection, model: str, by: str, champion: str) -> bool:
    """Whether somebody asked for a job that was measured against this version."""
    same = sa.and_(jobs.c.model == model, jobs.c.requested_by == by, jobs.c.champion == champion)
    return bool(connection.execute(sa.select(sa.exists().where(same))).scalar())


def last_ended(connection: sa.Connection, model: str) -> Job | None:
    query = sa.select(jobs).where(jobs.c.model == model, jobs.c.ended_at.is_not(None))
    return _one(connection, query.order_by(jobs.c.ended_at.desc()).limit(1))


def read_up_to(connection: sa.Connection, model: str) -> int:
    """The labels' clock up to which some job has read, whatever came of it; a cancelled one has not."""
    query = sa.select(sa.func.max(jobs.c.watermark)).where(jobs.c.model == model, jobs.c.state != "cancelled")
    return int(connection.execute(query).scalar_one() or 0)


def due(connection: sa.Connection, release: str, now: int) -> list[Job]:
    """Jobs to run, one of a model, oldest first: those that wait for nothing, and whose worker is gone. A
    worker takes what its own release or an older one asked for: after an upgrade nothing is left waiting."""
    other = jobs.alias()
    busy = sa.exists().where(other.c.model == jobs.c.model, other.c.state == "running")
    ready = sa.and_(jobs.c.state == "queued", jobs.c.not_before <= now, ~busy)
    lost = sa.and_(jobs.c.state == "running", ~_alive(now))
    query = sa.select(jobs).where(sa.or_(ready, lost)).order_by(jobs.c.job_id)
    found = (_job(row) for row in connection.execute(query))
    return [job for job in found if understands(release, job.release)]


def last_turns(connection: sa.Connection) -> dict[str, int]:
    """When a model's last job began (ms), or was last worked at, where its worker is gone."""
    latest = sa.func.max(sa.func.coalesce(jobs.c.lease, jobs.c.started_at))
    begun = sa.func.max(jobs.c.started_at)
    query = sa.select(jobs.c.model, begun, latest).where(jobs.c.started_at.is_not(None))
    return {model: max(at, worked) for model, at, worked in connection.execute(query.group_by(jobs.c.model))}


def at_work(connection: sa.Connection, now: int) -> int:
    """How many jobs a worker works at."""
    query = sa.select(sa.func.count()).where(jobs.c.state == "running", _alive(now))
    return int(connection.execute(query).scalar_one())


def put_off(connection: sa.Connection, job_id: str, until: int) -> None:
    """Let a waiting job wait longer."""
    same = sa.and_(jobs.c.job_id == job_id, jobs.c.state == "queued")
    connection.execute(sa.update(jobs).where(same).values(not_before=until))


def understands(release: str, asked_by: str) -> bool:
    """Whether a worker of `release` runs what a service of another one asked for."""
    worker, service = (tuple(map(int, re.findall(r"\d+", text))) for text in (release, asked_by))
    return worker >= service


def take(connection: sa.Connection, job: Job, worker: str, now: int, lease: int) -> bool:
    """Begin the job as this worker, if it is still as it was read."""
    values: dict[str, Any] = {
        "state": "running",
        "started_at": job.started_at or now,
        "attempts": job.attempts + 1,
        "worker": worker,
        "lease": lease,
    }
    same = sa.and_(jobs.c.job_id == job.job_id, jobs.c.state == job.state, jobs.c.attempts == job.attempts)
    if job.state == "queued":
        values |= {"stage": "snapshot", "progress": 0.0}
    else:  # its stage tells where its result is
        same = sa.and_(same, ~_alive(now))
    taken = bool(connection.execute(sa.update(jobs).where(same).values(values)).rowcount)
    if taken and job.state == "queued":
        _announce(connection, job.job_id)
    return taken


def renew(connection: sa.Connection, job_id: str, worker: str, lease: int, **told: Any) -> Job | None:  # noqa: ANN401
    """Hold on to a running job and tell how far it is; None: it is this worker's no more."""
    held = _held(job_id, worker)
    if not connection.execute(sa.update(jobs).where(held).values(lease=lease, **told)).rowcount:
        return None
    return find(connection, job_id)


def end(
    connection: sa.Connection,
    job_id: str,
    worker: str,
    state: State,
    now: int,
    reasons: Sequence[str],
    evidence: dict[str, Any] | None = None,
    **told: Any,  # noqa: ANN401
) -> bool:
    """Whether the job was this worker's to end."""
    values = {"state": state, "ended_at": now, "lease": None, "reasons": json.dumps(list(reasons)), **told}
    if evidence is not None:
        values["evidence"] = json.dumps(evidence)
    ended = bool(connection.execute(sa.update(jobs).where(_held(job_id, worker)).values(values)).rowcount)
    if ended:
        _announce(connection, job_id)
    return ended


def add_evidence(connection: sa.Connection, job_id: str, name: str, value: dict[str, Any]) -> None:
    """Put something beside what the gate went by, of a job that has ended."""
    job = find(connection, job_id)
    if job is not None:
        evidence = json.dumps({**(job.evidence or {}), name: value})
        connection.execute(sa.update(jobs).where(jobs.c.job_id == job_id).values(evidence=evidence))


def hand_back(connection: sa.Connection, job_id: str, worker: str) -> None:
    """Let another worker take a job up at once, and as if this one had not tried."""
    values = {"lease": 0, "attempts": jobs.c.attempts - 1}
    connection.execute(sa.update(jobs).where(_held(job_id, worker)).values(values))


def cancel(connection: sa.Connection, job_id: str, by: str, now: int) -> None:
    """A waiting job ends at once; a running one is asked to."""
    ended = {"state": "cancelled", "ended_at": now, "cancelled_by": by}
    same = jobs.c.job_id == job_id
    if connection.execute(sa.update(jobs).where(same, jobs.c.state == "queued").values(ended)).rowcount:
        _announce(connection, job_id)
    connection.execute(sa.update(jobs).where(same, jobs.c.state == "running").values(cancelled_by=by))


def greet(connection: sa.Connection, worker: str, release: str, now: int, forget_before: int) -> None:
    """A worker is alive; those not heard of for long are forgotten."""
    fresh = insert(connection, workers).values(worker=worker, release=release, seen=now)
    connection.execute(fresh.on_conflict_do_update(index_elements=["worker"], set_={"seen": now}))
    connection.execute(sa.delete(workers).where(workers.c.seen < forget_before))


def alive(connection: sa.Connection, since: int) -> dict[str, str]:
    """Release by worker, of those heard of since."""
    query = sa.select(workers.c.worker, workers.c.release).where(workers.c.seen >= since)
    found: dict[str, str] = dict(iter(connection.execute(query)))
    return found


def _announce(connection: sa.Connection, job_id: str) -> None:
    """Let webhooks be told of the job's state. Its reasons, which may name records, are read from the job."""
    job = find(connection, job_id)
    if job is not None:
        body: dict[str, Any] = {
            "job_id": job.job_id,
            "model": job.model,
            "state": job.state,
            "cause": job.cause,
        }
        body |= {"requested_by": job.requested_by}
        if job.version is not None:
            body["version"] = job.version
        if job.state == "succeeded":
            body["activated"] = job.activated
        outbox.announce(connection, "job", job.state, f"job:{job.job_id}", body)


def _alive(now: int) -> sa.ColumnElement[bool]:
    """A lease that reaches further than any worker's was given by a clock that was put back since."""
    return jobs.c.lease.between(now, now + LONGEST_LEASE)


def _held(job_id: str, worker: str) -> sa.ColumnElement[bool]:
    return sa.and_(jobs.c.job_id == job_id, jobs.c.worker == worker, jobs.c.state == "running")


def _one(connection: sa.Connection, query: sa.Select[Any]) -> Job | None:
    row = connection.execute(query).one_or_none()
    return None if row is None else _job(row)


def _job(row: sa.Row[Any]) -> Job:
    values = row._asdict()
    values |= {"reasons": tuple(json.loads(row.reasons)), "evidence": json.loads(row.evidence)}
    return Job(**values)

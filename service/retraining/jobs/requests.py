"""Retraining as the service sees it: when a job is due, what it waits for, how it is asked for and ended."""

from importlib.metadata import version as installed
from typing import Any

import sqlalchemy as sa
from msgspec import Struct

from nearnorm.service.errors import Conflict, NotFound
from nearnorm.service.ids import iso, new_id, now_ms
from nearnorm.service.ledger.label_history import LabelHistory, Verdict
from nearnorm.service.ledger.seen_lines import SeenLines
from nearnorm.service.ledger.tables import audit_trail as audit
from nearnorm.service.ledger.tables import jobs
from nearnorm.service.ledger.tables.feedback import second_opinions
from nearnorm.service.ledger.tables.feedback.labels import about, labels, verdicts
from nearnorm.service.ledger.tables.jobs import ENDED, Job
from nearnorm.service.retraining.jobs.turns import GREETED
from nearnorm.service.settings import Settings

RELEASE = installed("nearnorm")
NO_WORKER = (
    "a worker: `nearnorm serve` starts one where the extra training is installed, `nearnorm worker` is one"
)
DRIFT = "drift"  # who asks for a job then
MOST_COUNTED = 1_000
_LEARNT: tuple[Verdict, ...] = ("anomaly", "normal")  # a retraining leaves out the rest


class Rule(Struct, frozen=True):
    """When labels are enough: `after` records with a new verdict, and `pause` ms since the last job ended."""

    after: int
    pause: int

    @classmethod
    def of(cls, settings: Settings) -> "Rule":
        return cls(settings.retrain_after, int(settings.retrain_pause_seconds * 1000))


class Unread(Struct, frozen=True):
    """Records whose verdict is not the one that the last job read; `oldest`: since when (ms), the oldest."""

    records: int
    oldest: int | None


def unread(connection: sa.Connection, model: str, most: int = MOST_COUNTED) -> Unread:
    """Records that a job would read otherwise than the last one did, whatever came of that; at most `most`.

    Verdicts are counted, not statements: said twice or to and fro, nothing is new. One on a group is one.
    """
    read = jobs.read_up_to(connection, model)
    changed = sa.and_(verdicts.c.model == model, verdicts.c.change > read)
    waits, confirmed = second_opinions.is_waiting(), second_opinions.confirmed_since(read)
    same = sa.and_(labels.c.model == verdicts.c.model, labels.c.digest == verdicts.c.digest)
    known = sa.exists().where(same, labels.c.change <= read) if read else sa.false()
    named = labels.alias("named")
    evidence = sa.func.coalesce(named.c.group_id, verdicts.c.digest).label("evidence")
    by_label = verdicts.join(named, named.c.feedback_id == verdicts.c.feedback_id)
    fresh = connection.execute(
        sa.select(evidence, verdicts.c.at)
        .select_from(by_label)
        .where(changed, verdicts.c.verdict.in_(_LEARNT), ~waits, ~known)
        .distinct()
        .limit(most)
    ).all()
    again = connection.execute(
        sa.select(verdicts.c.digest, evidence, verdicts.c.at, confirmed.label("confirmed"))
        .select_from(by_label)
        .where(changed, known, ~waits)
        .limit(most)
    ).all()
    histories = about(connection, model, [row.digest for row in again])
    differ = [row for row in again if row.confirmed or _learns_otherwise(histories[row.digest], read)]
    at: dict[str, int] = {}
    for row in (*fresh, *differ):
        at[row.evidence] = min(row.at, at.get(row.evidence, row.at))
    return Unread(min(len(at), most), min(at.values(), default=None))


def _learns_otherwise(history: LabelHistory, read: int) -> bool:
    before, now = history.until(read).verdict, history.verdict
    return before != now and (before in _LEARNT or now in _LEARNT)


def labelled(connection: sa.Connection, model: str, rule: Rule, by: str) -> dict[str, Any]:
    """Let a job wait if labels are enough, in the transaction that stores them. Tells how it stands."""
    count = unread(connection, model, max(rule.after, MOST_COUNTED)).records
    standing: dict[str, Any] = {"new_labels": count, "triggers_at": rule.after}
    if waiting := second_opinions.count(connection, model):
        standing["waiting"] = waiting
    job = jobs.waiting(connection, model)
    if job is None and count >= rule.after:
        job = jobs.add(connection, _new(connection, model, rule, "labels", by))
    if job is not None:
        standing["job_id"] = job.job_id
    return standing


def request(connection: sa.Connection, model: str, rule: Rule, by: str) -> Job:
    """Let a job wait, however few labels there are; where one waits already, that is the one."""
    job = jobs.waiting(connection, model)
    if job is None:
        job = jobs.add(connection, _new(connection, model, Rule(rule.after, 0), "request", by))
        audit.note(connection, by, "retrain", model, job_id=job.job_id)
    return job


def drifted(connection: sa.Connection, model: str, version: str, rule: Rule) -> Job | None:
    """Let a job wait because traffic has changed from what a version knows, and the pause is over.

    None: that version was retrained for it before, here or by another replica. One that its successor could
    not beat is not tried again and again.
    """
    if jobs.was_asked(connection, model, DRIFT, version):
        return None
    job = jobs.waiting(connection, model)
    if job is None:
        job = jobs.add(connection, _new(connection, model, rule, "request", DRIFT))
        audit.note(connection, DRIFT, "retrain", model, job_id=job.job_id)
    return job


def cancel(connection: sa.Connection, job_id: str, by: str, lines: SeenLines) -> Job:
    """Raises NotFound as `find`, and Conflict for a job that has ended."""
    job = find(connection, job_id, lines)
    if job.state in ENDED:
        raise Conflict(f"the job has ended: it {_spoken(job)}")
    jobs.cancel(connection, job_id, by, now_ms())
    audit.note(connection, by, "retrain.cancel", job.model, job_id=job_id)
    return find(connection, job_id, lines)


def find(connection: sa.Connection, job_id: str, lines: SeenLines) -> Job:
    """Raises NotFound, also for a job of a line that is not seen."""
    job = jobs.find(connection, job_id) if "\0" not in job_id else None
    if job is None or not lines.sees(job.model):
        raise NotFound(f"no job {job_id[:60]!r}: see GET /jobs", field="job_id")
    return job


def refusal(connection: sa.Connection, version: str) -> str | None:
    """Why a version is not in the store, if the gate refused it."""
    job = jobs.of_version(connection, version)
    if job is None or job.state != "refused":
        return None
    return f"version {version} was refused by the gate in job {job.job_id}: {'; '.join(job.reasons[:1])}"


def waits_for(connection: sa.Connection, job: Job) -> str | None:
    """What a job that is not running waits for."""
    if job.state == "running" and job.cancelled_by:
        return "the end of its training: it was cancelled"
    if job.state == "running" and job.lease is not None and job.lease < now_ms():
        return "a worker: the one that ran it is gone"
    if job.state != "queued":
        return None
    if job.not_before > now_ms():
        return f"the pause between trainings, or its hours, until {iso(job.not_before)}"
    other = jobs.running(connection, job.model)
    if other is not None:
        return f"job {other.job_id}, which trains the same model"
    releases = set(jobs.alive(connection, now_ms() - GREETED).values())
    if not releases:
        return NO_WORKER
    if not any(jobs.understands(release, job.release) for release in releases):
        return f"a worker of release {job.release} or newer: those here are of {', '.join(sorted(releases))}"
    return "a worker that is free"


def as_dict(connection: sa.Connection, job: Job) -> dict[str, Any]:
    """A job as the API tells it; empty fields are left out."""
    document: dict[str, Any] = {
        "job_id": job.job_id,
        "model": job.model,
        "state": job.state,
        "stage": job.stage or None,
        "progress": round(job.progress, 3),
        "waits_for": waits_for(connection, job),
        "cause": job.cause,
        "requested_by": job.requested_by,
        "cancelled_by": job.cancelled_by,
        "at": iso(job.at),
        "not_before": iso(job.not_before) if job.state == "queued" else None,
        "started_at": iso(job.started_at) if job.started_at else None,
        "ended_at": iso(job.ended_at) if job.ended_at else None,
        "attempts": job.attempts or None,
        "champion": job.champion,
        "version": job.version,
        "activated": job.activated if job.state == "succeeded" else None,
        "snapshot": {"digest": job.digest, "watermark": job.watermark} if job.digest else None,
        "reasons": list(job.reasons) or None,
        "evidence": job.evidence or None,
        "log": job.log or None,
    }
    return {name: value for name, value in document.items() if value is not None}


def _new(connection: sa.Connection, model: str, rule: Rule, cause: Any, by: str) -> Job:  # noqa: ANN401
    now = now_ms()
    last = jobs.last_ended(connection, model)
    ended = min(last.ended_at or 0, now) if last else 0  # not in the future, should a clock be put back
    return Job(
        job_id=new_id(),
        model=model,
        state="queued",
        stage="",
        progress=0.0,
        cause=cause,
        requested_by=by,
        release=RELEASE,
        at=now,
        not_before=max(now, ended + rule.pause) if ended else now,
    )


def _spoken(job: Job) -> str:
    return {"succeeded": "succeeded", "refused": "was refused", "failed": "failed"}.get(
        job.state, "was cancelled"
    )

"""Whose turn it is: lines take turns to be retrained, and a job goes on where it can.

Of the lines that wait, the one begins whose last turn is longest ago, and one that never had a turn before
all of them. A second's wait of a line of priority 3 counts as three; as every wait grows, none is for ever.
A job that its worker died over counts as a turn of its line: it comes behind the others.
"""

from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa

from nearnorm.models.errors import ConfigError
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.tables import audit_trail as audit
from nearnorm.service.ledger.tables import jobs, lines
from nearnorm.service.ledger.tables.jobs import Job

GREETED = 15_000
"""ms: a worker that has not greeted for so long is taken to be gone."""
RETURNS = 60_000
"""ms that a training's result waits for the worker that has it, once it is gone."""
_WITH_RESULT = ("gate", "shadow", "publish", "activate")


def prefer(connection: sa.Connection, model: str, priority: int, actor: str) -> None:
    """Give a line's retrainings another priority. Raises ConfigError for a name that none can have."""
    if problem := lines.problem_of_name(model):
        raise ConfigError(problem)
    lines.prefer(connection, model, priority, now_ms(), actor)
    audit.note(connection, actor, "line.priority", model, priority=priority)


def next_job(connection: sa.Connection, release: str, now: int, worker: str = "") -> Job | None:
    """The job that a worker takes next; None: there is none for it."""
    due = jobs.due(connection, release, now)
    if not due:
        return None
    here, alive = place_of(worker), jobs.alive(connection, now - GREETED)
    own = [job for job in due if is_for(job, here, _others(alive, job) - {here}, now)]
    if len(own) < 2:
        return own[0] if own else None
    return first(own, jobs.last_turns(connection), lines.priorities(connection), now)


def _others(alive: Mapping[str, str], job: Job) -> set[str]:
    """The places of workers that run this job; `alive` tells each one's release."""
    return {place_of(name) for name, release in alive.items() if jobs.understands(release, job.release)}


def first(due: Sequence[Job], turns: Mapping[str, int], priorities: Mapping[str, int], now: int) -> Job:
    """Of jobs, one a line, whose turn it is; `turns`: when each line had its last one (ms)."""

    def waits(job: Job) -> tuple[float, str]:
        last = turns.get(job.model)
        waited = float("inf") if last is None else float(max(0, now - last)) * priorities.get(job.model, 1)
        return -waited, job.job_id

    return min(due, key=waits)


def is_for(job: Job, place: str, others: Iterable[str], now: int) -> bool:
    """Whether a worker at this place takes a job, where there are workers at these others.

    One whose worker died in training goes to another place, should it be the place that kills it; one that
    was trained goes on where its result is, once, if its worker comes back in time.
    """
    if job.state == "queued" or job.worker is None:
        return True
    before = place_of(job.worker)
    if job.stage in _WITH_RESULT and job.attempts < 2:
        return before == place or job.lease is None or now > job.lease + RETURNS
    return before != place or not set(others)


def name_of(host: str, home: str, process: int, chance: str) -> str:
    """A worker's name: its place, which its successors have too, and what tells it from them."""
    return f"{host}:{home}:{process}-{chance}"


def place_of(worker: str) -> str:
    return worker.rpartition(":")[0]

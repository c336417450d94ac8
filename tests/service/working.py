"""A worker and its jobs in a test's own hands: what the tests of failures and of the shadow share."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.data.digest import record_digest
from nearnorm.models.retraining import DoubtedLabel, TrainingResult
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.label_history import Label
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.ledger.tables import jobs
from nearnorm.service.ledger.tables.feedback import labels
from nearnorm.service.ledger.tables.jobs import Job
from nearnorm.service.retraining.attempts.workplace import LEASE
from nearnorm.service.retraining.jobs import requests
from nearnorm.service.retraining.jobs.requests import Rule
from nearnorm.service.retraining.worker import Worker
from nearnorm.service.settings import Settings

RULE = Rule(20, 0)


def opened(settings: Settings) -> Iterator[Worker]:
    worker = Worker(settings)
    migrate(worker.ledger)
    yield worker
    worker.ledger.close()


def asked(worker: Worker) -> str:
    with worker.ledger.write() as connection:
        return requests.request(connection, "default", RULE, "test").job_id


def taken(worker: Worker) -> Job:
    with worker.ledger.write() as connection:
        (found,) = jobs.due(connection, requests.RELEASE, now_ms())
        assert jobs.take(connection, found, worker.name, now_ms(), now_ms() + LEASE)
        job = jobs.find(connection, found.job_id)
    assert job is not None
    return job


def worked(worker: Worker) -> Job:
    """One job from asking to its end."""
    asked(worker)
    job = taken(worker)
    worker.work(job)
    return read(worker, job.job_id)


def read(worker: Worker, job_id: str) -> Job:
    with worker.ledger.read() as connection:
        job = jobs.find(connection, job_id)
    assert job is not None
    return job


def with_settings(settings: Settings, **changes: Any) -> Iterator[Worker]:
    yield from opened(settings.model_copy(update=changes))


def champions(worker: Worker) -> list[str]:
    return [entry.version for entry in worker.store.activations()]


def training(job_id: str) -> int:
    """The process that trains for a job."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    line = (folder / "cmdline").read_text()
                except OSError:
                    continue
                if "nearnorm.training.loop.retrain" in line and job_id in line:
                    return int(folder.name)
        time.sleep(0.05)
    raise AssertionError("no training began")


def with_result(
    worker: Worker,
    bundle: Bundle,
    accepted: bool = True,
    measured: bool = True,
    left_out: str | None = None,
    doubted: Sequence[DoubtedLabel] = (),
    figures: dict[str, Any] | None = None,
) -> Job:
    """A job whose training has ended: its folder holds a bundle and a result."""
    job_id = asked(worker)
    job = taken(worker)
    champion = worker.store.champion()
    assert champion is not None
    with worker.ledger.write() as connection:
        jobs.renew(connection, job_id, worker.name, now_ms() + LEASE, watermark=0, champion=champion.version)
    folder = worker.settings.home / "jobs" / job_id
    folder.mkdir(parents=True)
    (folder / "bundle").symlink_to(bundle.path)
    result = TrainingResult(
        accepted=accepted,
        reasons=["because"],
        figures={"confirmed": 0} | (figures or {}) | ({"left_out": left_out} if left_out else {}),
        version=bundle.version,
        digest="d",
        rows=1,
        learnt=[],
        problems=[],
        measured=measured,
        left_out=left_out,
        doubted=list(doubted),
    )
    (folder / "result.json").write_bytes(msgspec.json.encode(result))
    return job


def say(worker: Worker, record: dict[str, Any], label: str, feedback_id: str) -> None:
    statement = Label(
        feedback_id, now_ms(), "default", record_digest(record), label, record, analyst="a", actor="a"
    )
    with worker.ledger.write() as connection:
        labels.append(connection, tick(connection, "labels"), [statement])

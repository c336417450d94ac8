"""Real trainings that are stopped, starved and cancelled: `pytest tests/chaos/trainings.py`, a minute or two.

What tests/service/retraining/attempts/test_failures.py does by processes that only say so.
"""

import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.ledger.seen_lines import EVERY_LINE
from nearnorm.service.ledger.tables.jobs import Job
from nearnorm.service.retraining.jobs import requests
from nearnorm.service.retraining.worker import Worker
from nearnorm.service.settings import Settings
from tests.service.running import home_with
from tests.service.working import asked, champions, opened, read, say, taken, training
from tests.training.conftest import PAYMENTS, train

STAGES = ("snapshot", "evaluate", "fit", "export", "report", "gate")


@pytest.fixture(scope="module")
def payments(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return train(tmp_path_factory.mktemp("trained") / "payments", PAYMENTS)


@pytest.fixture
def worker(tmp_path: Path, payments: Bundle) -> Iterator[Worker]:
    yield from opened(Settings(home=home_with(tmp_path / "home", payments), training_silence_seconds=30.0))


def met(worker: Worker, stage: str, what: Callable[[Job, int], None]) -> Job:
    """A job to whose training `what` happens as soon as it has come to `stage`."""
    asked(worker)
    job = taken(worker)
    thread = threading.Thread(target=worker.work, args=(job,))
    thread.start()
    pid = training(job.job_id)
    while STAGES.index(read(worker, job.job_id).stage) < STAGES.index(stage):
        assert thread.is_alive(), read(worker, job.job_id)
        time.sleep(0.01)
    what(read(worker, job.job_id), pid)
    thread.join(120)
    assert not Path(f"/proc/{pid}").exists()
    assert len(champions(worker)) == 1
    assert worker.store.versions() == champions(worker)
    return read(worker, job.job_id)


@pytest.mark.parametrize("stage", STAGES[:-1])
def test_a_job_is_cancelled_within_seconds_whatever_its_training_does(worker: Worker, stage: str) -> None:
    asked_at = 0.0

    def cancel(job: Job, pid: int) -> None:
        nonlocal asked_at
        asked_at = time.monotonic()
        with worker.ledger.write() as connection:
            requests.cancel(connection, job.job_id, "test", EVERY_LINE)

    assert met(worker, stage, cancel).state == "cancelled"
    assert time.monotonic() - asked_at < 10


def test_a_training_without_memory_says_so(worker: Worker) -> None:
    def starve(job: Job, pid: int) -> None:
        used = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
        resource.prlimit(pid, resource.RLIMIT_AS, (used + 2**20, used + 2**20))

    job = met(worker, "evaluate", starve)
    assert job.state == "failed"
    assert "memory" in job.reasons[0], job


def test_a_training_whose_helper_is_killed_says_so(worker: Worker, payments: Bundle) -> None:
    def kill(job: Job, pid: int) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for folder in Path("/proc").iterdir():
                if folder.name.isdigit() and "spawn_main" in _command(folder) and _parent(folder) == pid:
                    os.kill(int(folder.name), signal.SIGKILL)
                    return
            time.sleep(0.01)
        raise AssertionError("nothing was fitted beside")

    number = payments.manifest.core.features.numeric[0].name
    say(worker, {number: 1e6}, "anomaly", "new")  # so that the champion's recipe is measured beside
    job = met(worker, "evaluate", kill)
    assert job.state == "failed"
    assert "a process of the training was killed" in job.reasons[0], job


def test_a_training_without_room_on_the_disk_names_the_file(worker: Worker) -> None:
    def fill(job: Job, pid: int) -> None:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, 4096))

    job = met(worker, "snapshot", fill)
    assert job.state == "failed"
    assert "File too large" in job.reasons[0], job


def test_a_training_that_stands_still_is_ended(worker: Worker) -> None:
    job = met(worker, "evaluate", lambda job, pid: os.kill(pid, signal.SIGSTOP))
    assert job.state == "failed"
    assert "training hung in evaluate" in job.reasons[0], job


def _command(folder: Path) -> str:
    try:
        return (folder / "cmdline").read_text()
    except OSError:
        return ""


def _parent(folder: Path) -> int:
    try:
        return int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0

"""What bounds trainings: how many at once, with how many threads, and at which hours."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.tables import jobs
from nearnorm.service.retraining.attempts.workplace import LEASE
from nearnorm.service.retraining.jobs import requests
from nearnorm.service.retraining.jobs.requests import DRIFT, Rule
from nearnorm.service.retraining.worker import Worker
from nearnorm.service.settings import Settings
from tests.service.bundles import make_bundle
from tests.service.retraining.attempts.test_failures import trains_by
from tests.service.running import home_with
from tests.service.working import RULE, opened, read, worked

Opened = Callable[..., Worker]


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Opened]:
    """A worker with settings, all of one home."""
    home, left = home_with(tmp_path / "home", make_bundle(tmp_path / "champion")), []

    def with_settings(**settings: object) -> Worker:
        opening = opened(Settings(home=home, **settings))  # type: ignore[arg-type]
        left.append(opening)
        return next(opening)

    yield with_settings
    for opening in left:
        next(opening, None)


def test_no_more_trainings_run_at_once_than_all_workers_together_may(worker: Opened) -> None:
    first, second = worker(trainings_at_once=1), worker(trainings_at_once=1)
    with first.ledger.write() as connection:
        for model in ("one", "other"):
            requests.request(connection, model, RULE, "test")
    begun = first.next_job()
    assert begun is not None
    assert second.next_job() is None
    with first.ledger.write() as connection:
        jobs.end(connection, begun.job_id, first.name, "failed", now_ms(), ["because"])
    following = second.next_job()
    assert following is not None
    assert following.model != begun.model


def test_a_job_of_a_dead_worker_takes_no_place(worker: Opened) -> None:
    alone = worker(trainings_at_once=1)
    with alone.ledger.write() as connection:
        job = requests.request(connection, "one", RULE, "test")
        long_ago = now_ms() - 2 * LEASE
        assert jobs.take(connection, job, "another:place:1-x", long_ago, long_ago + LEASE)
    again = alone.next_job()
    assert again is not None
    assert (again.job_id, again.attempts) == (job.job_id, 2)


def test_what_labels_or_drift_asked_for_waits_for_its_hours_and_what_a_person_asked_for_does_not(
    worker: Opened,
) -> None:
    later = time.gmtime(time.time() + 7200)
    closed = worker(training_hours=f"{later.tm_hour:02}:00-{later.tm_hour:02}:01")
    with closed.ledger.write() as connection:
        waiting = requests.drifted(connection, "one", "v", Rule(20, 0))
        assert waiting is not None
        assert waiting.requested_by == DRIFT
    assert closed.next_job() is None
    put_off = read(closed, waiting.job_id)
    hour = 3_600_000
    assert now_ms() + hour - 60_000 < put_off.not_before < now_ms() + 2 * hour
    with closed.ledger.write() as connection:
        told = requests.waits_for(connection, put_off)
        requests.request(connection, "other", RULE, "ops")
    assert told is not None
    assert "its hours, until " in told
    begun = closed.next_job()
    assert begun is not None
    assert begun.model == "other"


def test_a_training_is_told_how_many_threads_it_may_have(
    worker: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    trains_by('echo "$OMP_NUM_THREADS threads" >&2; exit 2', monkeypatch)
    assert worked(worker(training_threads=3)).reasons == ("3 threads",)

"""Trainings that end badly, by processes that do just that: the job says why and is not tried again, the
champion stays, and nothing is half done. The same by real trainings is tests/chaos/trainings.py."""

import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from nearnorm.models.bundle.bundle import MODEL, Bundle
from nearnorm.service.app import create_app
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.seen_lines import EVERY_LINE
from nearnorm.service.ledger.tables import jobs
from nearnorm.service.ledger.tables.jobs import Job
from nearnorm.service.retraining.attempts import training_process
from nearnorm.service.retraining.jobs import requests
from nearnorm.service.retraining.worker import Worker
from nearnorm.service.settings import Settings
from tests.service.bundles import make_bundle
from tests.service.running import home_with, serving
from tests.service.working import asked, champions, opened, read, taken, with_result, worked

SAYS = 'echo \'{"stage": "fit", "progress": 0.5}\'; '


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nearnorm.service.retraining.attempts.attempt.POLL", 0.1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    home = home_with(tmp_path / "home", make_bundle(tmp_path / "champion"))
    return Settings(home=home, worker="off", training_silence_seconds=1.0)


@pytest.fixture
def worker(settings: Settings) -> Iterator[Worker]:
    yield from opened(settings)


@pytest.fixture
def challenger(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "challenger", seed=3)


def trains_by(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_process, "TRAINING", ("/bin/sh", "-c", script))


def failed(worker: Worker, job: Job) -> str:
    """The one reason of a job that failed and left all as it was."""
    assert job.state == "failed"
    assert len(champions(worker)) == 1
    assert worker.store.versions() == champions(worker)
    with worker.ledger.read() as connection:
        assert jobs.due(connection, requests.RELEASE, now_ms()) == [], "it is not tried again"
    (reason,) = job.reasons
    return reason


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'ValueError: of all things' >&2; exit 1", "training crashed: ValueError: of all things"),
        ("exit 3", "training crashed: exit code 3"),
        ("echo 'x.csv has no column y' >&2; exit 2", "x.csv has no column y"),
        (SAYS + "kill -9 $$", "training was killed (signal 9), as the system does when memory runs out"),
        (SAYS + "kill -SEGV $$", "training was ended by signal 11"),
        (SAYS + "exec sleep 600", "training hung in fit: it told of no progress for 1 s and was ended"),
        ("trap '' TERM; while :; do sleep 1; done", "training hung in snapshot"),
        (SAYS + "exit 0", "result.json in the service's home: No such file or directory"),
    ],
)
def test_a_training_that_ends_badly_fails_its_job_with_the_reason(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    trains_by(script, monkeypatch)
    started = time.monotonic()
    assert reason in failed(worker, worked(worker))
    assert time.monotonic() - started < 120  # and not the 600 s that it would take


def test_a_training_that_tells_of_progress_is_not_taken_to_hang(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    trains_by("for i in 1 2 3 4; do sleep 0.4; " + SAYS + "done; exit 3", monkeypatch)
    assert failed(worker, worked(worker)) == "training crashed: exit code 3"


@pytest.mark.parametrize("stage", ["snapshot", "evaluate", "fit", "export", "report"])
def test_a_job_is_cancelled_in_every_stage_of_training(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    trains_by(SAYS.replace("fit", stage) + "exec sleep 600", monkeypatch)
    for worker in opened(settings.model_copy(update={"training_silence_seconds": 600.0})):
        asked(worker)
        job = taken(worker)
        thread = threading.Thread(target=worker.work, args=(job,))
        thread.start()
        while read(worker, job.job_id).progress != 0.5:
            time.sleep(0.02)
        assert read(worker, job.job_id).stage == stage
        with worker.ledger.write() as connection:
            requests.cancel(connection, job.job_id, "test", EVERY_LINE)
        thread.join(60)
        assert not thread.is_alive(), "within seconds, on a machine with nothing else to do"
        assert read(worker, job.job_id).state == "cancelled"
        assert len(champions(worker)) == 1


def test_a_bundle_that_was_damaged_on_its_way_is_not_stored(worker: Worker, challenger: Bundle) -> None:
    job = with_result(worker, challenger)
    folder = worker.settings.home / "jobs" / job.job_id / "bundle"
    folder.unlink()
    shutil.copytree(challenger.path, folder)
    (folder / MODEL).write_bytes((folder / MODEL).read_bytes()[:-1] + b"x")
    worker.work(job)
    assert "bundle" in failed(worker, read(worker, job.job_id))


def test_what_nobody_foresaw_fails_the_job_once(worker: Worker, challenger: Bundle) -> None:
    job = with_result(worker, challenger)
    (worker.settings.home / "jobs" / job.job_id / "result.json").write_text("{}")
    worker.work(job)
    assert failed(worker, read(worker, job.job_id)) == (
        f"jobs/{job.job_id}/result.json in the service's home holds no TrainingResult as this release writes "
        "it: Object missing required field `accepted`"
    )


def test_a_snapshot_that_cannot_be_written_fails_the_job_and_names_the_file(worker: Worker) -> None:
    (worker.settings.home / "jobs").write_text("a file where the folder should be")
    assert "jobs" in failed(worker, worked(worker))


def test_a_model_without_a_champion_cannot_be_retrained(tmp_path: Path) -> None:
    for worker in opened(Settings(home=tmp_path)):
        job = worked(worker)
        assert job.state == "failed"
        assert "has no champion to begin with" in job.reasons[0]


def test_the_api_activates_no_version_that_is_unknown_refused_or_damaged(
    settings: Settings, worker: Worker, challenger: Bundle
) -> None:
    refused = with_result(worker, challenger, accepted=False)
    worker.work(refused)
    damaged = worker.store.publish(make_bundle(settings.home / "other", seed=4).path)
    model = settings.home / "models" / "versions" / damaged / MODEL
    if not model.is_file():
        (model,) = (settings.home / "models").rglob(f"{damaged}/{MODEL}")
    model.chmod(0o644)
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    with serving(create_app(settings)) as client:
        served = client.get("/readyz").json()["models"][0]["version"]
        for version, status, told in (
            ("0" * 64, 404, "0" * 12),
            (challenger.version, 409, "was refused by the gate"),
            (damaged, 409, "model.onnx"),
        ):
            answer: httpx.Response = client.post(f"/models/{version}/activate")
            assert answer.status_code == status
            assert told in json.dumps(answer.json())
        assert client.get("/readyz").json()["models"][0]["version"] == served
    assert champions(worker) == [served]


def test_a_job_that_activated_on_a_machine_that_was_lost_says_so_and_trains_no_other(
    worker: Worker, challenger: Bundle
) -> None:
    job = with_result(worker, challenger)
    worker.store.activate(worker.store.publish(challenger.path), by=f"job:{job.job_id}")
    shutil.rmtree(worker.settings.home / "jobs" / job.job_id)
    before = champions(worker)
    worker.work(job)
    ended = read(worker, job.job_id)
    assert (ended.state, ended.activated) == ("failed", False)
    assert "is lost with the machine" in ended.reasons[0]
    assert champions(worker) == before

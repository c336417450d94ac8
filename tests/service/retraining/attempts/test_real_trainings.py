"""A worker over real trainings: what goes wrong is told, the champion stays, nothing is half done."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.ledger.seen_lines import EVERY_LINE
from nearnorm.service.ledger.tables import jobs
from nearnorm.service.ledger.tables.feedback import labels
from nearnorm.service.ledger.tables.jobs import Job
from nearnorm.service.retraining.attempts.workplace import LEASE
from nearnorm.service.retraining.jobs import requests
from nearnorm.service.retraining.worker import MOST_ATTEMPTS, Worker
from nearnorm.service.settings import Settings
from tests.service.running import home_with
from tests.service.waiting import until
from tests.service.working import (
    asked,
    champions,
    opened,
    read,
    say,
    taken,
    training,
    with_result,
    with_settings,
    worked,
)
from tests.training.conftest import PAYMENTS, train


@pytest.fixture(scope="module")
def payments(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return train(tmp_path_factory.mktemp("trained") / "payments", PAYMENTS)


@pytest.fixture
def settings(tmp_path: Path, payments: Bundle) -> Settings:
    return Settings(home=home_with(tmp_path / "home", payments))


@pytest.fixture
def worker(settings: Settings) -> Iterator[Worker]:
    yield from opened(settings)


def test_base_data_that_vanished_fails_the_job_and_says_what_to_do(settings: Settings) -> None:
    for worker in with_settings(settings, training_data="/nowhere/base.parquet"):
        job = worked(worker)
        assert job.state == "failed"
        assert job.reasons == ("base.parquet does not exist",)
        assert len(champions(worker)) == 1


def test_base_data_that_lost_a_column_fails_the_job_and_names_it(settings: Settings, tmp_path: Path) -> None:
    table = pq.read_table(PAYMENTS)
    scored = settings.open_store()
    champion = scored.champion()
    assert champion is not None
    name = scored.open(champion.version).manifest.core.features.numeric[0].name
    pq.write_table(table.drop_columns([name]), tmp_path / "fewer.parquet")
    for worker in with_settings(settings, training_data=str(tmp_path / "fewer.parquet")):
        job = worked(worker)
        assert job.state == "failed"
        assert f"has no column {name!r} any more" in job.reasons[0]


def test_a_training_that_takes_too_long_is_ended_and_told(settings: Settings) -> None:
    for worker in with_settings(settings, training_seconds=0.5):
        started = time.monotonic()
        job = worked(worker)
        assert job.state == "failed"
        assert "NEARNORM_TRAINING_SECONDS" in job.reasons[0]
        assert time.monotonic() - started < 30


def test_a_recipe_that_cannot_be_read_fails_the_job(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[fit]\nlearning = 1\n")
    for worker in with_settings(settings, training_config=tmp_path / "bad.toml"):
        job = worked(worker)
        assert job.state == "failed"
        assert "learning" in job.reasons[0]


def test_a_training_that_is_killed_says_so_and_the_champion_stays(worker: Worker) -> None:
    asked(worker)
    job = taken(worker)
    thread = threading.Thread(target=worker.work, args=(job,))
    thread.start()
    os.kill(training(job.job_id), signal.SIGKILL)
    thread.join(60)
    ended = read(worker, job.job_id)
    assert ended.state == "failed"
    assert "killed (signal 9)" in ended.reasons[0]
    assert len(champions(worker)) == 1


def test_a_job_is_cancelled_within_seconds_while_it_trains(worker: Worker) -> None:
    asked(worker)
    job = taken(worker)
    thread = threading.Thread(target=worker.work, args=(job,))
    thread.start()
    pid = training(job.job_id)
    with worker.ledger.write() as connection:
        requests.cancel(connection, job.job_id, "test", EVERY_LINE)
    started = time.monotonic()
    thread.join()
    assert time.monotonic() - started < 60  # a busy machine is late
    ended = read(worker, job.job_id)
    assert (ended.state, ended.cancelled_by) == ("cancelled", "test")
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("stage", ["gate", "publish", "activate"])
def test_a_job_is_cancelled_in_every_stage_after_training(
    worker: Worker, payments: Bundle, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    job = with_result(worker, payments)
    renew = worker.place.renew

    def cancelling(job: Job, **told: Any) -> Job:
        if told.get("stage") == stage:
            with worker.ledger.write() as connection:
                requests.cancel(connection, job.job_id, "test", EVERY_LINE)
        return renew(job, **told)

    monkeypatch.setattr(worker.place, "renew", cancelling)
    worker.work(job)
    assert read(worker, job.job_id).state == "cancelled"
    assert len(champions(worker)) == 1


def test_a_job_whose_training_had_ended_goes_on_from_its_result_and_activates_once(
    worker: Worker, payments: Bundle
) -> None:
    job = with_result(worker, payments)
    worker.store.activate(payments.version, by=f"job:{job.job_id}")  # and died before it could say so
    worker.work(job)
    ended = read(worker, job.job_id)
    assert ended.state == "succeeded"
    assert ended.activated
    assert len(champions(worker)) == 2


def test_a_refused_model_is_not_stored_and_its_reasons_are_kept(worker: Worker, payments: Bundle) -> None:
    job = with_result(worker, payments, accepted=False)
    worker.work(job)
    ended = read(worker, job.job_id)
    assert ended.state == "refused"
    assert ended.reasons == ("because",)
    assert len(champions(worker)) == 1


def test_a_manual_gate_waits_for_a_person(settings: Settings, payments: Bundle) -> None:
    for worker in with_settings(settings, gate="manual"):
        job = with_result(worker, payments)
        worker.work(job)
        ended = read(worker, job.job_id)
        assert ended.state == "succeeded"
        assert not ended.activated
        assert f"POST /models/{payments.version}/activate" in ended.reasons[0]
        assert len(champions(worker)) == 1


@pytest.mark.parametrize(("gate", "activated"), [("measured", False), ("auto", True)])
def test_what_could_not_be_measured_waits_for_a_person_unless_the_gate_is_auto(
    settings: Settings, payments: Bundle, gate: str, activated: bool
) -> None:
    for worker in with_settings(settings, gate=gate):
        job = with_result(worker, payments, measured=False)
        worker.work(job)
        ended = read(worker, job.job_id)
        assert ended.state == "succeeded"
        assert ended.activated is activated
        if not activated:
            assert ended.reasons[0].startswith(f"it waits for POST /models/{payments.version}/activate")
            assert "could not be measured yet" in ended.reasons[0]


def test_a_version_that_a_person_activated_meanwhile_is_not_replaced(
    worker: Worker, payments: Bundle
) -> None:
    job = with_result(worker, payments)
    with worker.ledger.write() as connection:
        jobs.renew(connection, job.job_id, worker.name, now_ms() + LEASE, champion="another")
    worker.work(job)
    ended = read(worker, job.job_id)
    assert not ended.activated
    assert "another version was activated while it trained" in ended.reasons[0]
    assert len(champions(worker)) == 1


def test_after_three_dead_workers_a_job_is_given_up(worker: Worker) -> None:
    asked(worker)
    for _ in range(3):
        job = taken(worker)
        with worker.ledger.write() as connection:
            jobs.renew(connection, job.job_id, worker.name, 0, stage="fit")
    worker.work(taken(worker))
    ended = read(worker, job.job_id)
    assert ended.state == "failed"
    assert "3 workers died over this job" in ended.reasons[0]


def test_a_job_that_has_activated_is_seen_to_its_end_however_many_workers_died(
    worker: Worker, payments: Bundle
) -> None:
    job = with_result(worker, payments)
    worker.store.activate(payments.version, by=f"job:{job.job_id}")
    worker.work(replace(job, attempts=MOST_ATTEMPTS + 1))
    ended = read(worker, job.job_id)
    assert (ended.state, ended.activated) == ("succeeded", True)


def test_labels_that_no_longer_fit_are_left_out_and_named_and_stay_waiting(
    worker: Worker, payments: Bundle
) -> None:
    number = payments.manifest.core.features.numeric[0].name
    say(worker, {number: "much"}, "anomaly", "unfit")
    say(worker, {"something else": 1.0}, "normal", "foreign")
    say(worker, {number: 1e6}, "anomaly", "fit")
    job = worked(worker)
    assert job.state == "succeeded", job.reasons
    assert any(reason.startswith(f"label unfit is left out: {number}") for reason in job.reasons)
    assert any("label foreign is left out" in reason for reason in job.reasons)
    with worker.ledger.read() as connection:
        receipts = {name: labels.find(connection, name) for name in ("fit", "unfit", "foreign")}
    assert receipts["fit"] is not None
    assert receipts["fit"].job_id == job.job_id
    assert receipts["fit"].score_after is not None
    assert receipts["unfit"] is not None
    assert receipts["unfit"].job_id is None
    kept = {path.name for path in (worker.settings.home / "jobs" / job.job_id).iterdir()}
    assert kept == {"bundle", "request.json", "result.json"}, "records of an ended job are erased"


def test_a_second_worker_of_a_home_waits_for_the_first(settings: Settings) -> None:
    first, second = Worker(settings), Worker(settings)
    threads = [threading.Thread(target=w.run) for w in (first, second)]
    migrate(second.ledger)

    def alive() -> set[str]:
        with second.ledger.read() as connection:
            return set(jobs.alive(connection, now_ms() - 600_000))

    threads[0].start()
    until(lambda: alive() == {first.name})
    threads[1].start()
    time.sleep(1.5)  # the second would tell of itself meanwhile
    assert alive() == {first.name}
    first.stop()
    threads[0].join()
    until(lambda: second.name in alive())
    second.stop()
    threads[1].join()

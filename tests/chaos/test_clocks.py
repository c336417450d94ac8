"""Clocks that are put forward and back while the service runs: nothing hangs, and order stays order."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service import ids
from nearnorm.service.app import create_app
from nearnorm.service.ids import new_id, now_ms
from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.label_history import Label
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.ledger.tables import jobs
from nearnorm.service.ledger.tables.feedback import labels
from nearnorm.service.ledger.tables.jobs import LONGEST_LEASE, Job
from nearnorm.service.retraining.attempts.workplace import LEASE
from nearnorm.service.retraining.jobs.requests import Rule, labelled, request
from nearnorm.service.retraining.jobs.turns import next_job
from nearnorm.service.settings import Settings
from tests.service.asking import RECORD, STRANGE, label, problem, score, stored
from tests.service.bundles import make_bundle
from tests.service.running import home_with, serving

HOUR, DAY = 3600.0, 86400.0
Put = Callable[[float], None]


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Put:
    """Put the wall clock forward by so many seconds, or back."""
    real = time.time_ns
    offset = [0.0]
    monkeypatch.setattr(ids, "_last", ids._last)  # put back: no other test shall see ids of the future
    monkeypatch.setattr(time, "time_ns", lambda: real() + int(offset[0] * 1e9))

    def put(seconds: float) -> None:
        offset[0] += seconds

    return put


@pytest.fixture(scope="module")
def payments(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "payments")


@pytest.fixture
def client(tmp_path: Path, payments: Bundle) -> Iterator[httpx.Client]:
    home = home_with(tmp_path / "home", payments)
    with serving(create_app(Settings(home=home, audit_rate=1.0, analyst_labels_per_hour=3))) as client:
        yield client


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(f"sqlite:///{tmp_path}/nearnorm.db")
    migrate(opened)
    yield opened
    opened.close()


@pytest.mark.parametrize("jump", [40 * DAY, -40 * DAY])
def test_scores_labels_and_matches_do_not_mind_a_jump(client: httpx.Client, put: Put, jump: float) -> None:
    first = stored(label(client, {"record": RECORD, "label": "anomaly", "analyst": "ann"}))[0]
    put(jump)
    assert score(client, RECORD)["matched_feedback"]["feedback_id"] == first
    event_id = score(client, STRANGE, "tx")["event_id"]
    second = stored(label(client, {"record": RECORD, "label": "normal", "analyst": "ann"}))[0]
    assert score(client, RECORD)["matched_feedback"]["feedback_id"] == second  # by order, not by time
    assert client.get(f"/feedback/{first}").json()["status"] == "superseded"
    by_id = stored(label(client, {"record_id": "tx", "label": "anomaly", "analyst": "bob"}))[0]
    assert client.get(f"/feedback/{by_id}").json()["event_id"] == event_id


def test_ids_go_on_in_order_when_the_clock_is_put_back(put: Put) -> None:
    before = new_id()
    put(-DAY)
    after = [new_id() for _ in range(3)]
    assert sorted(after) == after
    assert before < after[0]


def test_an_analysts_rate_does_not_lock_them_out_when_the_clock_is_put_back(
    client: httpx.Client, put: Put
) -> None:
    items = [{"record": RECORD | {"amount": float(i)}, "label": "normal", "analyst": "ann"} for i in range(4)]
    stored(label(client, *items[:3]))
    problem(label(client, items[3]), 429, "too-many-labels")
    put(-2 * HOUR)
    stored(label(client, items[3]))


def begun(ledger: Ledger) -> Job:
    with ledger.write() as connection:
        job = request(connection, "default", Rule(20, 0), "ops")
        assert jobs.take(connection, job, "dead", now_ms(), now_ms() + LEASE)
        return job


def due(ledger: Ledger) -> str | None:
    with ledger.write() as connection:
        found = next_job(connection, "999", now_ms(), "next")
        if found is None:
            return None
        assert jobs.take(connection, found, "next", now_ms(), now_ms() + LEASE)
        return found.job_id


def test_a_dead_workers_job_is_taken_up_though_the_clock_was_put_back(ledger: Ledger, put: Put) -> None:
    job = begun(ledger)
    assert due(ledger) is None
    put(-HOUR)  # its lease lies an hour ahead now
    assert due(ledger) == job.job_id
    assert due(ledger) is None  # the new worker holds it
    assert LEASE < LONGEST_LEASE


def test_a_worker_whose_job_was_taken_in_a_jump_writes_nothing_more(ledger: Ledger, put: Put) -> None:
    job = begun(ledger)
    put(HOUR)
    assert due(ledger) == job.job_id
    with ledger.write() as connection:
        assert jobs.renew(connection, job.job_id, "dead", now_ms() + LEASE) is None
        assert not jobs.end(connection, job.job_id, "dead", "succeeded", now_ms(), [])


def test_the_pause_between_trainings_is_never_longer_than_it_was_set(ledger: Ledger, put: Put) -> None:
    job = begun(ledger)
    with ledger.write() as connection:
        jobs.end(connection, job.job_id, "dead", "failed", now_ms(), [])
    put(-30 * DAY)
    with ledger.write() as connection:
        statement = Label(
            new_id(), now_ms(), "default", "digest", "anomaly", {"amount": 1.0}, analyst="ann", actor="key"
        )
        labels.append(connection, tick(connection, "labels"), [statement])
        labelled(connection, "default", Rule(1, 60_000), "key")
        waiting = jobs.waiting(connection, "default")
    assert waiting
    assert waiting.not_before <= now_ms() + 60_000

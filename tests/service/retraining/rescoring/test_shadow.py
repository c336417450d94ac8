"""The shadow period: the challenger's answers to live traffic beside the champion's, before it may serve."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.app import create_app
from nearnorm.service.ids import first_id_at
from nearnorm.service.ledger.tables.events.events import events, fetch
from nearnorm.service.retraining.rescoring import shadow
from nearnorm.service.retraining.rescoring.rescore import Rescorer
from nearnorm.service.retraining.rescoring.shadow import rank_correlation, spoken
from nearnorm.service.retraining.worker import Worker
from nearnorm.service.settings import Settings
from tests.service.bundles import make_bundle
from tests.service.running import home_with, serving
from tests.service.waiting import until
from tests.service.working import champions, opened, read, taken, with_result

RATE = 0.25
SHARE = 0.05


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event log writes five times a second here, and nothing is in its way."""
    monkeypatch.setattr(shadow, "LAG", 2_500)


@pytest.fixture
def versions(tmp_path: Path) -> tuple[Bundle, Bundle]:
    """Champion and challenger: the challenger's prototypes lie elsewhere, so that it judges differently."""
    return make_bundle(tmp_path / "one", seed=0), make_bundle(tmp_path / "other", seed=6)


@pytest.fixture
def settings(tmp_path: Path, versions: tuple[Bundle, Bundle]) -> Settings:
    home = home_with(tmp_path / "home", versions[0])
    return Settings(home=home, worker="off", audit_rate=RATE, shadow_seconds=1.2)


@pytest.fixture
def client(settings: Settings) -> Iterator[httpx.Client]:
    with serving(create_app(settings)) as client:
        client.put("/policy", json={"budget": f"{SHARE:.0%}"}).raise_for_status()
        yield client


def worker_of(settings: Settings, **changes: Any) -> Iterator[Worker]:
    yield from opened(settings.model_copy(update=changes))


def send(client: httpx.Client, batches: int) -> None:
    rng = np.random.default_rng(batches)
    for _ in range(batches):
        amounts = rng.normal(50, 40, 100).tolist()
        records = [{"amount": amount, "country": "DE", "channel": "web"} for amount in amounts]
        client.post("/score", json={"records": records}).raise_for_status()
        time.sleep(0.02)


def shadow_of(worker: Worker, job_id: str) -> dict[str, Any]:
    evidence = read(worker, job_id).evidence or {}
    found: dict[str, Any] = evidence.get("shadow", {})
    return found


def begun(worker: Worker, job_id: str) -> None:
    """Once the period has."""
    until(lambda: read(worker, job_id).stage == "shadow" and shadow_of(worker, job_id))


def test_what_the_challenger_would_have_said_of_live_traffic_is_told_before_it_serves(
    client: httpx.Client, settings: Settings, versions: tuple[Bundle, Bundle]
) -> None:
    for worker in worker_of(settings, shadow_seconds=3.0):
        job = with_result(worker, versions[1])
        send(client, 2)  # what came before the period is not in it
        thread = threading.Thread(target=worker.work, args=(job,))
        thread.start()
        begun(worker, job.job_id)
        assert champions(worker) == [versions[0].version]
        while thread.is_alive():
            send(client, 1)
            time.sleep(0.1)

        told = client.get(f"/jobs/{job.job_id}").json()
        assert told["state"] == "succeeded"
        assert champions(worker) == [versions[0].version, versions[1].version]
        report = told["evidence"]["shadow"]
        assert told["reasons"][0] == spoken(report)

        with worker.ledger.read() as connection:
            first, last = (first_id_at(report["since_ms"] + after) for after in (0, 3_000))
            kept = fetch(connection, events.select().where(events.c.event_id.between(first, last)))
        assert report["events"] == len(kept) > 50
        by = [Rescorer(bundle, "cpu", 1, SHARE, len(kept)).rescore(kept) for bundle in versions]
        weight = np.array([1 / event.probability for event in kept])
        assert report["rows"] == round(weight.sum()) > len(kept)
        was, now = (np.array(side.anomaly) for side in by)
        assert report["alerts"] == {
            "champion": round(weight[was].sum()),
            "challenger": round(weight[now].sum()),
            "gained": round(weight[now & ~was].sum()),
            "lost": round(weight[was & ~now].sum()),
        }
        assert report["alerts"]["gained"] + report["alerts"]["lost"] > 0
        assert report["agreement"] == pytest.approx(weight[was == now].sum() / weight.sum(), abs=1e-6)
        assert 0 < report["rank_correlation"] < 1
        assert set(report["gained"]) <= {
            e.event_id for e, gained in zip(kept, now & ~was, strict=True) if gained
        }
        assert all(milliseconds > 0 for milliseconds in report["row_ms"].values())


def test_a_worker_that_takes_the_job_up_in_the_middle_of_the_period_goes_on(
    client: httpx.Client, settings: Settings, versions: tuple[Bundle, Bundle]
) -> None:
    for worker in worker_of(settings, shadow_seconds=600.0):
        job = with_result(worker, versions[1])
        thread = threading.Thread(target=worker.work, args=(job,))
        thread.start()
        begun(worker, job.job_id)
        send(client, 5)
        began = shadow_of(worker, job.job_id)["since_ms"]
        worker.stop()
        thread.join()
        assert read(worker, job.job_id).state == "running"
    send(client, 5)  # nobody looks meanwhile
    for worker in worker_of(settings, shadow_seconds=6.0):
        worker.work(taken(worker))
        assert read(worker, job.job_id).state == "succeeded"
        report = shadow_of(worker, job.job_id)
        assert report["since_ms"] == began
        with worker.ledger.read() as connection:
            kept = fetch(connection, events.select())
        assert report["events"] == len([event for event in kept if event.at >= began])


def test_the_period_is_over_once_another_version_serves(
    settings: Settings, versions: tuple[Bundle, Bundle]
) -> None:
    for worker in worker_of(settings, shadow_seconds=600.0):
        job = with_result(worker, versions[1])
        third = worker.store.publish(make_bundle(settings.home / "third", seed=2).path)
        thread = threading.Thread(target=worker.work, args=(job,))
        thread.start()
        begun(worker, job.job_id)
        worker.store.activate(third, by="somebody")
        thread.join()
        ended = read(worker, job.job_id)
        assert ended.state == "succeeded"
        assert not ended.activated
        assert "another version was activated" in ended.reasons[0]
        assert "no event" in ended.reasons[1]


def test_so_many_events_end_the_period_before_its_time(
    client: httpx.Client, settings: Settings, versions: tuple[Bundle, Bundle]
) -> None:
    for worker in worker_of(settings, shadow_seconds=600.0, shadow_rows=50):
        job = with_result(worker, versions[1])
        thread = threading.Thread(target=worker.work, args=(job,))
        thread.start()
        begun(worker, job.job_id)
        send(client, 10)
        thread.join()
        assert read(worker, job.job_id).state == "succeeded"
        assert shadow_of(worker, job.job_id)["events"] == 50


def test_ranks_correlate_as_spearman_has_it_and_ties_share_theirs() -> None:
    one = np.array([1.0, 2.0, 2.0, 3.0])
    assert rank_correlation(one, one * 10) == 1.0
    assert rank_correlation(one, -one) == -1.0
    assert rank_correlation(one, np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(0.948683)
    assert rank_correlation(one, np.ones(4)) is None

"""GET /jobs/{id}/flips: what a challenger would say otherwise of recent events. On both databases."""

from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables import job_flips
from nearnorm.service.ledger.tables.job_flips import EventComparison
from nearnorm.service.retraining.rescoring import flips
from nearnorm.service.retraining.worker import Worker
from nearnorm.service.settings import Settings
from tests.service.asking import problem
from tests.service.bundles import make_bundle
from tests.service.waiting import logged, until
from tests.service.working import asked, opened, with_result

RECORDS = 1_200


@pytest.fixture(scope="session")
def challenger(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Its prototypes lie elsewhere, so that it judges differently."""
    return make_bundle(tmp_path_factory.mktemp("bundle") / "challenger", seed=6)


@pytest.fixture
def worker(settings: Settings, client: httpx.Client) -> Iterator[Worker]:
    """Beside a service that has scored a thousand records, all of them kept, at a budget of 5%."""
    client.put("/policy", json={"budget": "5%"}).raise_for_status()
    amounts = np.random.default_rng(0).normal(50, 40, RECORDS).tolist()
    records = [{"amount": amount, "country": "DE", "channel": "web"} for amount in amounts]
    client.post("/score", json={"records": records}).raise_for_status()
    until(lambda: logged(client))
    yield from opened(settings.model_copy(update={"gate": "manual"}))  # nothing is swapped meanwhile


def flips_of(client: httpx.Client, job_id: str, **params: int) -> dict[str, Any]:
    answer = client.get(f"/jobs/{job_id}/flips", params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("accepted", [True, False])
def test_events_whose_verdict_would_change_are_told_the_strongest_first(
    worker: Worker, client: httpx.Client, challenger: Bundle, accepted: bool
) -> None:
    before = {event["event_id"]: event for event in _scored_again(client)}
    job = with_result(worker, challenger, accepted=accepted)
    worker.work(job)
    found = flips_of(client, job.job_id, limit=100)
    alerts = found["alerts"]
    assert found["events"] == found["rows"] == RECORDS + len(before)
    assert alerts["challenger"] == alerts["champion"] + alerts["gained"] - alerts["lost"]
    assert found["flipped"] == alerts["gained"] + alerts["lost"]
    assert 0 < found["flipped"] <= 100
    assert len(found["flips"]) == found["flipped"]
    changes = [abs(flip["percentile_after"] - flip["percentile_before"]) for flip in found["flips"]]
    assert changes == sorted(changes, reverse=True)
    for flip in found["flips"]:
        assert flip["anomaly_before"] is not flip["anomaly_after"]
        if event := before.get(flip["event_id"]):
            assert flip["percentile_before"] == pytest.approx(event["percentile"], abs=1e-3)
            assert flip["anomaly_before"] == event["anomaly"]


def _scored_again(client: httpx.Client) -> list[dict[str, Any]]:
    records = [{"amount": float(amount), "country": "DE", "channel": "web"} for amount in range(100, 140)]
    results: list[dict[str, Any]] = client.post("/score", json={"records": records}).json()["results"]
    until(lambda: logged(client))
    return results


def test_flips_are_paged(worker: Worker, client: httpx.Client, challenger: Bundle) -> None:
    job = with_result(worker, challenger)
    worker.work(job)
    every = flips_of(client, job.job_id, limit=100)["flips"]
    first = flips_of(client, job.job_id, limit=2)
    second = flips_of(client, job.job_id, limit=2, cursor=int(first["next"]))
    assert [*first["flips"], *second["flips"]] == every[:4]
    assert "next" not in flips_of(client, job.job_id, limit=100)


def test_before_the_gate_and_without_a_model_it_says_why_there_are_none(
    worker: Worker, client: httpx.Client
) -> None:
    job_id = asked(worker)
    assert "once the gate has judged" in flips_of(client, job_id)["missing"]
    client.delete(f"/jobs/{job_id}").raise_for_status()
    assert "made no model" in flips_of(client, job_id)["missing"]
    problem(client.get("/jobs/none/flips"), 404, "not-found")


def test_a_comparison_that_fails_is_told_and_the_job_goes_on(
    worker: Worker, client: httpx.Client, challenger: Bundle
) -> None:
    job = with_result(worker, challenger)
    (worker.store.root / "versions" / str(worker.store.champion().version) / "model.onnx").write_bytes(b"x")  # type: ignore[union-attr]
    worker.work(job)
    assert "failed" in flips_of(client, job.job_id)["missing"]
    assert client.get(f"/jobs/{job.job_id}").json()["version"] == challenger.version


def test_only_the_newest_jobs_keep_their_flips(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_flips, "KEPT_JOBS", 2)
    with ledger.write() as connection:
        for job_id in "abc":
            job_flips.put(connection, job_id, EventComparison(0))
        assert job_flips.find(connection, "a") is None
        assert job_flips.find(connection, "b") == job_flips.find(connection, "c") == EventComparison(0)


def test_no_more_events_are_compared_than_a_job_has_time_for(
    worker: Worker, client: httpx.Client, challenger: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flips, "MOST_EVENTS", 500)
    job = with_result(worker, challenger)
    worker.work(job)
    assert flips_of(client, job.job_id)["events"] == 500

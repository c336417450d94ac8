"""The state of rooms on /metrics."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.app import create_app
from nearnorm.service.drift.monitor import LONG
from nearnorm.service.feedback.figures import recall as recall_figures
from nearnorm.service.ledger.seen_lines import EVERY_LINE
from nearnorm.service.metrics import collectors
from nearnorm.service.settings import Settings
from nearnorm.service.token_bucket import TokenBucket
from nearnorm.service.verdict.novelty import ALLOWED
from tests.service.api.test_health import value
from tests.service.running import home_with, serving
from tests.service.scoring.test_endpoint import RECORD
from tests.service.waiting import until


@pytest.fixture
def fresh(tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    monkeypatch.setattr(collectors, "READ_EVERY", 0.0)
    settings = Settings(home=home_with(tmp_path, bundle), audit_rate=1.0)
    with serving(create_app(settings)) as client:
        yield client


def becomes(client: httpx.Client, name: str, expected: float, **labels: str) -> None:
    until(lambda: value(client, name, **labels) == expected)


def test_models_queue_and_log_have_gauges(fresh: httpx.Client) -> None:
    assert value(fresh, "nearnorm_model_created_timestamp_seconds", model="default") > 1.7e9
    assert value(fresh, "nearnorm_alert_budget_ratio", model="default") >= 0.01
    assert value(fresh, "nearnorm_queue_rows", model="default") == 0
    assert value(fresh, "nearnorm_queue_limit_rows", model="default") == 20_000
    assert value(fresh, "nearnorm_problems") == 0
    assert value(fresh, "nearnorm_activations_total", model="default", action="activate") == 1


def test_kept_events_and_labels_have_gauges(fresh: httpx.Client) -> None:
    strange = RECORD | {"amount": 900.0}  # an ordinary record would wait for a second opinion
    results = fresh.post("/score", json={"records": [strange] * 3}).json()["results"]
    assert value(fresh, "nearnorm_events_kept_total") == 3
    for reason in ("full", "text", "refused", "stopped"):
        assert value(fresh, "nearnorm_events_dropped_total", reason=reason) == 0
    assert value(fresh, "nearnorm_event_log_limit_bytes") == 4 * 2**30
    becomes(fresh, "nearnorm_events_waiting", 0)
    label = {"event_id": results[0]["event_id"], "label": "anomaly"}
    fresh.post("/feedback", json={"labels": [label]}).raise_for_status()
    becomes(fresh, "nearnorm_verdicts", 1, model="default", verdict="anomaly")
    becomes(fresh, "nearnorm_labels_waiting", 1, model="default")
    becomes(fresh, "nearnorm_labels_second_opinion", 0, model="default")
    fresh.post("/feedback", json={"labels": [{"record": RECORD, "label": "anomaly"}]}).raise_for_status()
    becomes(fresh, "nearnorm_labels_second_opinion", 1, model="default")
    becomes(fresh, "nearnorm_labels_waiting", 1, model="default")
    assert 0 < value(fresh, "nearnorm_label_lag_seconds", model="default") < 60


def test_recall_is_not_told_before_there_are_random_labels_enough_but_what_it_needs_is(
    fresh: httpx.Client,
) -> None:
    assert "recall" not in fresh.get("/drift").json()
    strange = RECORD | {"amount": 1e6}
    results = fresh.post("/score", json={"records": [RECORD, strange]}).json()["results"]
    labels = [
        {"event_id": results[0]["event_id"], "label": "normal"},
        {"event_id": results[1]["event_id"], "label": "anomaly"},
    ]
    fresh.post("/feedback", json={"labels": labels}).raise_for_status()
    becomes(fresh, "nearnorm_recall_labels_needed", recall_figures.FEWEST - 1, model="default")
    assert "nearnorm_recall_ratio{" not in fresh.get("/metrics").text
    recall = fresh.get("/drift").json()["recall"]
    expected = {"labelled": 2, "anomalies": 1, "random_labels": 1, "needs": 499, "needs_alerts": 0}
    assert recall == expected


def test_recall_has_a_gauge_once_there_are(fresh: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall_figures, "MOST", 1)
    strange = RECORD | {"amount": 1e6}
    results = fresh.post("/score", json={"records": [RECORD, strange]}).json()["results"]
    labels = [
        {"event_id": result["event_id"], "label": label}
        for result, label in zip(results, ("normal", "anomaly"), strict=True)
    ]
    fresh.post("/feedback", json={"labels": labels}).raise_for_status()
    becomes(fresh, "nearnorm_recall_ratio", 1.0, model="default", bound="estimate")
    recall = fresh.get("/drift").json()["recall"]
    assert (recall["estimate"], recall["needs"], recall["random_labels"]) == (1.0, 0, 1)
    assert recall["low"] < 0.9
    assert value(fresh, "nearnorm_recall_ratio", bound="low") == pytest.approx(recall["low"])
    assert value(fresh, "nearnorm_recall_labels_needed", model="default") == 0


def test_jobs_and_workers_have_gauges(fresh: httpx.Client) -> None:
    becomes(fresh, "nearnorm_jobs", 0, model="default", state="failed")
    job = fresh.post("/jobs", json={}).raise_for_status().json()
    becomes(fresh, "nearnorm_jobs", 1, model="default", state="queued")
    assert 0 <= value(fresh, "nearnorm_job_wait_seconds", model="default") < 60
    assert value(fresh, "nearnorm_workers") == 0
    fresh.delete(f"/jobs/{job['job_id']}").raise_for_status()
    becomes(fresh, "nearnorm_jobs", 1, model="default", state="cancelled")


@pytest.mark.parametrize("switched_on", [True, False])
def test_a_drift_that_lasts_asks_for_a_retraining_where_switched_on(
    tmp_path: Path, bundle: Bundle, switched_on: bool
) -> None:
    app = create_app(Settings(home=home_with(tmp_path, bundle), retrain_on_drift=switched_on))
    with serving(app) as client:
        model = app.state.registry.first(EVERY_LINE)
        client.post("/score", json={"records": [RECORD] * 250}).raise_for_status()
        assert not model.drift.lasting
        model.watched = TokenBucket(1e9, 0.0)  # every row, however many a second
        for _ in range(LONG // 8_000 + 1):
            client.post("/score", json={"records": [RECORD] * 8_000}).raise_for_status()
        assert model.drift.lasting
        app.state.services.follower.refresh()
        for job in client.get("/jobs").json()["jobs"]:
            client.delete(f"/jobs/{job['job_id']}").raise_for_status()  # nothing waits that would be found
        app.state.services.follower.refresh()
        jobs = client.get("/jobs").json()["jobs"]
        assert len(jobs) == switched_on, "once for a version"


def test_novelty_that_has_become_usual_asks_for_a_retraining_too(tmp_path: Path, bundle: Bundle) -> None:
    app = create_app(Settings(home=home_with(tmp_path, bundle), retrain_on_drift=True))
    with serving(app) as client:
        novel = RECORD | {"amount": 1e9}
        client.post("/score", json={"records": [novel] * ALLOWED}).raise_for_status()
        app.state.services.follower.refresh()
        assert client.get("/jobs").json()["jobs"] == []
        client.post("/score", json={"records": [novel]}).raise_for_status()
        app.state.services.follower.refresh()
        jobs = client.get("/jobs").json()["jobs"]
        assert len(jobs) == 1
        client.delete(f"/jobs/{jobs[0]['job_id']}").raise_for_status()

"""The watch after a swap: what the loop put into service beside the version before it, on a real store."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.data.digest import record_digest
from nearnorm.models.errors import StoreError
from nearnorm.service.app import create_app
from nearnorm.service.ids import new_id, now_ms
from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.label_history import Label
from nearnorm.service.ledger.seen_lines import EVERY_LINE
from nearnorm.service.ledger.tables import audit_trail, jobs, swaps
from nearnorm.service.ledger.tables.feedback import labels
from nearnorm.service.ledger.tables.swaps import Swap
from nearnorm.service.retraining.rescoring.rescore import Rescorer
from nearnorm.service.retraining.rescoring.swap_loss import FEWEST
from nearnorm.service.retraining.rescoring.swap_watch import SwapWatch
from nearnorm.service.retraining.worker import Worker
from nearnorm.service.settings import Settings
from tests.service.bundles import make_bundle
from tests.service.running import home_with, serving
from tests.service.waiting import until
from tests.service.working import champions, opened, read, with_result


@pytest.fixture
def versions(tmp_path: Path) -> tuple[Bundle, Bundle]:
    """The version before, and the one that the loop puts into service: it judges differently."""
    return make_bundle(tmp_path / "one", seed=0), make_bundle(tmp_path / "other", seed=6)


@pytest.fixture
def settings(tmp_path: Path, versions: tuple[Bundle, Bundle]) -> Settings:
    home = home_with(tmp_path / "home", versions[0])
    return Settings(home=home, worker="off", audit_rate=1.0, second_opinion_below=0.0)


@pytest.fixture
def worker(settings: Settings, versions: tuple[Bundle, Bundle]) -> Iterator[Worker]:
    """One whose job has just put the second version into service."""
    for one in opened(settings):
        one.work(with_result(one, versions[1]))
        assert champions(one) == [version.version for version in versions]
        yield one


def lost(versions: tuple[Bundle, Bundle], count: int) -> list[dict[str, Any]]:
    """Records that the version before ranks much higher than the one after."""
    rng = np.random.default_rng(0)
    records = [
        {"amount": float(amount), "country": country, "channel": channel}
        for amount in rng.normal(50, 60, 300)
        for country in ("DE", "FR")
        for channel in ("web", "app")
    ]
    old, new = (Rescorer(bundle, "cpu", 1, 0.05, len(records)).judge_records(records) for bundle in versions)
    assert len(old[0]) == len(new[0]) == len(records)
    deeper = (101 - new[1]) / (101 - old[1])
    order = np.argsort(-deeper)
    assert deeper[order[count - 1]] > 1.5
    return [records[i] for i in order[:count]]


def say(worker: Worker, records: list[dict[str, Any]], *keys: str) -> None:
    """They are anomalies, as somebody says by each key."""
    with worker.ledger.write() as connection:
        statements = [
            Label(
                new_id(),
                now_ms(),
                "default",
                record_digest(record),
                "anomaly",
                record,
                analyst=key,
                actor=key,
            )
            for record in records
            for key in keys
        ]
        labels.append(connection, tick(connection, "labels"), statements)


def look(worker: Worker, **changes: Any) -> Swap | None:
    SwapWatch(worker.settings.model_copy(update=changes), worker.ledger, worker.store).look()
    with worker.ledger.read() as connection:
        return swaps.find(connection, "default", champions(worker)[1])


def trail(worker: Worker, action: str) -> list[dict[str, Any]]:
    with worker.ledger.read() as connection:
        return [
            entry for entry in audit_trail.page(connection, 50, None, EVERY_LINE) if entry["action"] == action
        ]


def test_a_clear_loss_is_told_once_in_readyz_a_metric_and_the_trail(
    worker: Worker, settings: Settings, versions: tuple[Bundle, Bundle]
) -> None:
    say(worker, lost(versions, FEWEST), "soc", "ann")
    swap = look(worker)
    assert swap is not None
    assert swap.outcome == "worse"
    assert champions(worker)[-1] == versions[1].version, "it is told, and serves on"
    look(worker)
    with worker.ledger.read() as connection:
        (job,) = jobs.newest(connection, 10, None, None, EVERY_LINE)
    assert (job.evidence or {})["watch"]["reason"] == swap.reason
    (entry,) = trail(worker, "watch.worse")
    assert entry["detail"]["reason"] == swap.reason
    assert f"{versions[1].version} is worse: {FEWEST} anomalies that were confirmed since" in swap.reason
    with serving(create_app(settings)) as client:
        told = f"model 'default': {swap.reason}"
        until(lambda: told in client.get("/readyz").json()["problems"], 10)
        assert 'nearnorm_champion_worse{model="default"} 1.0' in client.get("/metrics").text
        client.post("/models/rollback").raise_for_status()
        until(lambda: client.get("/readyz").json()["problems"] == [], 10)
        assert 'nearnorm_champion_worse{model="default"} 0.0' in client.get("/metrics").text


def test_by_setting_it_is_rolled_back_with_the_reason_and_at_most_once_a_version(
    worker: Worker, versions: tuple[Bundle, Bundle]
) -> None:
    say(worker, lost(versions, FEWEST), "soc", "ann")
    swap = look(worker, watch="rollback")
    assert swap is not None
    assert swap.outcome == "rolled_back"
    assert champions(worker) == [versions[0].version, versions[1].version, versions[0].version]
    assert worker.store.activations()[-1].by == "watch"
    (entry,) = trail(worker, "rollback")
    assert entry["actor"] == "watch"
    assert entry["detail"]["reason"] == swap.reason

    worker.store.activate(versions[1].version, by="job:again")
    look(worker, watch="rollback")
    assert champions(worker)[-1] == versions[1].version, "once a version"


def test_a_watch_that_died_before_it_rolled_back_does_so_when_it_looks_again(
    worker: Worker, versions: tuple[Bundle, Bundle]
) -> None:
    say(worker, lost(versions, FEWEST), "soc", "ann")
    swap = look(worker)
    assert swap is not None
    with worker.ledger.write() as connection:
        swaps.put(
            connection, Swap(swap.model, swap.version, swap.before, swap.since, "rolled_back", "because")
        )
    look(worker)
    assert champions(worker)[-1] == versions[0].version


def test_where_several_label_one_of_them_alone_undoes_nothing(
    worker: Worker, versions: tuple[Bundle, Bundle]
) -> None:
    records = lost(versions, 2 * FEWEST)
    say(worker, records[: FEWEST - 1], "soc")
    say(worker, records[FEWEST:], "eve")
    swap = look(worker, watch="rollback")
    assert swap is not None
    assert (swap.outcome, swap.figures["labels"]) == ("watching", 2 * FEWEST - 1)
    say(worker, records[FEWEST - 1 : FEWEST], "soc")
    swap = look(worker, watch="rollback")
    assert swap is not None
    assert swap.outcome == "rolled_back"


def test_the_word_of_the_only_one_who_labels_is_told_and_rolls_nothing_back(
    worker: Worker, versions: tuple[Bundle, Bundle]
) -> None:
    say(worker, lost(versions, FEWEST), "soc")
    swap = look(worker, watch="rollback")
    assert swap is not None
    assert swap.outcome == "worse"
    assert champions(worker)[-1] == versions[1].version


def test_what_the_version_has_learnt_from_tells_nothing_about_it(
    settings: Settings, versions: tuple[Bundle, Bundle]
) -> None:
    for worker in opened(settings):
        say(worker, lost(versions, FEWEST), "soc", "ann")
        job = with_result(worker, versions[1])
        with worker.ledger.write() as connection:
            clock = tick(connection, "labels")
            jobs.renew(connection, job.job_id, worker.name, now_ms() + 10_000, watermark=clock)
        worker.work(job)
        assert read(worker, job.job_id).activated
        swap = look(worker)
        assert swap is not None
        assert (swap.outcome, swap.figures["labels"]) == ("watching", 0)


def test_alerts_and_ranks_on_the_same_traffic_are_compared_and_the_watch_ends(
    worker: Worker, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nearnorm.service.retraining.rescoring import shadow, swap_watch

    with serving(create_app(settings)) as client:
        send(client)
        monkeypatch.setattr(shadow, "LAG", 0)
        monkeypatch.setattr(swap_watch, "LAG", 0)
        until(lambda: (look(worker) or Swap("", "", "", 0)).figures.get("events") == 200, 10)
        swap = look(worker)
        assert swap is not None
        assert set(swap.figures["alerts"]) == {"version", "before"}
        assert 0 < swap.figures["rank_correlation"] < 1
        assert swap.outcome == "watching"
        (job,) = client.get("/jobs").json()["jobs"]
        assert job["evidence"]["watch"] == {"outcome": "watching", "before": swap.before, **swap.figures}
        assert job["evidence"]["confirmed"] == 0, "what the gate went by stays"
        swap = look(worker, watch_seconds=0.01)
        assert swap is not None
        assert swap.outcome == "kept"


def send(client: httpx.Client) -> None:
    amounts = np.random.default_rng(1).normal(50, 40, 200).tolist()
    records = [{"amount": amount, "country": "DE", "channel": "web"} for amount in amounts]
    client.post("/score", json={"records": records}).raise_for_status()


def test_what_a_person_activated_is_not_watched(worker: Worker, versions: tuple[Bundle, Bundle]) -> None:
    say(worker, lost(versions, FEWEST), "soc", "ann")
    worker.store.activate(versions[1].version, by="ops")
    assert look(worker, watch="rollback") is None


def test_a_version_before_that_is_damaged_is_told_and_the_worker_goes_on(
    worker: Worker, versions: tuple[Bundle, Bundle]
) -> None:
    model = worker.store.open(versions[0].version).path / "model.onnx"
    model.chmod(0o600)
    model.write_bytes(b"damaged")
    swap = look(worker)
    assert swap is not None
    assert swap.outcome == "failed"
    assert trail(worker, "watch.failed")


def test_a_worker_looks_between_jobs_as_the_setting_says(
    worker: Worker, versions: tuple[Bundle, Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    say(worker, lost(versions, FEWEST), "soc", "ann")
    monkeypatch.setattr(worker, "settings", worker.settings.model_copy(update={"watch": "off"}))
    worker._watch()
    assert trail(worker, "watch.worse") == []
    monkeypatch.setattr(worker, "settings", worker.settings.model_copy(update={"watch": "tell"}))
    worker._watch()
    assert len(trail(worker, "watch.worse")) == 1


def test_a_log_that_cannot_be_read_does_not_end_the_worker(
    worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = worker.settings.home / "models" / "activations" / "00000099.json"
    damaged.write_text("{")
    with pytest.raises(StoreError):
        worker.store.activations()
    worker._watch()
    assert "the watch failed" in capsys.readouterr().out

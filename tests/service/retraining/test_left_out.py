"""A key whose labels a version was trained without: it is named in the trail, and its labels stay new."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.data.digest import record_digest
from nearnorm.service.ids import new_id, now_ms
from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.label_history import Label
from nearnorm.service.ledger.tables import audit_trail, jobs, snapshot
from nearnorm.service.ledger.tables.feedback import labels
from nearnorm.service.retraining.worker import Worker
from nearnorm.service.settings import Settings
from tests.service.bundles import make_bundle
from tests.service.running import home_with
from tests.service.working import opened, read, with_result


@pytest.fixture
def other(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "other", seed=6)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    home = home_with(tmp_path / "home", make_bundle(tmp_path / "one", seed=0))
    yield from opened(Settings(home=home, worker="off"))


def say(worker: Worker, amount: float, *keys: str) -> int:
    """An anomaly, as said by each key; the number of the labels' clock."""
    record = {"amount": amount, "country": "DE", "channel": "web"}
    with worker.ledger.write() as connection:
        change = tick(connection, "labels")
        for key in keys:
            digest = record_digest(record)
            statement = Label(
                new_id(), now_ms(), "default", digest, "anomaly", record, analyst=key, actor=key
            )
            labels.append(connection, change, [statement])
    return change


def verdicts(worker: Worker, champion: str) -> dict[float, tuple[str | None, bool]]:
    """Of each record by its amount: which key alone says so, and whether the champion learnt it."""
    with worker.ledger.read() as connection:
        lines = snapshot.read(connection, "default", champion, 10).verdicts
    found = [json.loads(line) for line in lines]
    return {one["record"]["amount"]: (one["key"], one["known"]) for one in found}


@pytest.mark.parametrize("left_out", [None, "eve"])
def test_a_version_knows_what_it_has_read_but_for_what_it_was_trained_without(
    worker: Worker, other: Bundle, left_out: str | None
) -> None:
    say(worker, 1.0, "soc")
    say(worker, 2.0, "eve")
    read_up_to = say(worker, 3.0, "eve", "soc")
    job = with_result(worker, other, left_out=left_out)
    with worker.ledger.write() as connection:
        jobs.renew(connection, job.job_id, worker.name, now_ms() + 10_000, watermark=read_up_to)
    worker.work(job)
    assert read(worker, job.job_id).activated
    say(worker, 4.0, "soc")

    assert verdicts(worker, other.version) == {
        1.0: ("soc", True),
        2.0: ("eve", left_out is None),
        3.0: (None, True),
        4.0: ("soc", False),
    }
    with worker.ledger.read() as connection:
        trail = audit_trail.page(connection, 50, None)
    named = [entry["detail"] for entry in trail if entry["action"] == "labels.left_out"]
    assert named == ([{"key": "eve", "version": other.version}] if left_out else [])

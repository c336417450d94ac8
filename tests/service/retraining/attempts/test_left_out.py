"""A key whose labels a version was trained without: the trail names it, its labels wait."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.data.digest import record_digest
from nearnorm.models.retraining import DoubtedLabel
from nearnorm.service.ids import new_id, now_ms
from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.label_history import Label
from nearnorm.service.ledger.seen_lines import EVERY_LINE
from nearnorm.service.ledger.tables import audit_trail, jobs, snapshot
from nearnorm.service.ledger.tables.feedback import labels, second_opinions
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


def doubt(amount: float) -> DoubtedLabel:
    """As a training tells of an anomaly that it left out."""
    record = {"amount": amount, "country": "DE", "channel": "web"}
    return DoubtedLabel(record_digest(record), f"f{amount}", True, 0.5, 97.0, 2)


def waiting(worker: Worker) -> list[tuple[str, float, str]]:
    with worker.ledger.read() as connection:
        return [
            (one.actor, one.percentile, one.label)
            for one in second_opinions.waiting(connection, "default", 9)
        ]


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
        trail = audit_trail.page(connection, 50, None, EVERY_LINE)
    named = [entry["detail"] for entry in trail if entry["action"] == "labels.left_out"]
    assert named == ([{"key": "eve", "version": other.version}] if left_out else [])


@pytest.mark.parametrize("accepted", [True, False])
def test_what_was_left_out_waits_for_a_second_opinion_and_trains_nothing_until_another_key_says_the_same(
    worker: Worker, other: Bundle, accepted: bool
) -> None:
    say(worker, 1.0, "soc")
    say(worker, 2.0, "eve")
    read_up_to = say(worker, 3.0, "eve")
    job = with_result(worker, other, accepted, left_out="eve", doubted=[doubt(2.0), doubt(3.0)])
    champion = worker.store.champion()
    assert champion is not None
    with worker.ledger.write() as connection:
        jobs.renew(connection, job.job_id, worker.name, now_ms() + 10_000, watermark=read_up_to)
    say(worker, 3.0, "soc")  # while it trained
    worker.work(job)

    version = other.version if accepted else champion.version
    assert waiting(worker) == [("eve", 97.0, "anomaly")]
    assert verdicts(worker, version) == {1.0: ("soc", accepted), 3.0: (None, False)}
    with worker.ledger.write() as connection:
        second_opinions.confirm(connection, "default", [doubt(2.0).digest], tick(connection, "labels"))
    assert waiting(worker) == []
    assert verdicts(worker, version)[2.0] == ("eve", False), "no version has learnt it"


def test_nothing_waits_where_second_opinions_are_off(tmp_path: Path, other: Bundle) -> None:
    home = home_with(tmp_path / "off", make_bundle(tmp_path / "one", seed=0))
    for worker in opened(Settings(home=home, worker="off", second_opinion_below=0)):
        say(worker, 2.0, "eve")
        worker.work(with_result(worker, other, left_out="eve", doubted=[doubt(2.0)]))
        assert waiting(worker) == []

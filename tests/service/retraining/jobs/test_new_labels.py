"""How many new labels there are: records with a new verdict, on both databases."""

from typing import Any

import httpx
import pytest

from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables import jobs
from nearnorm.service.retraining.jobs import requests
from nearnorm.service.retraining.jobs.requests import Rule
from nearnorm.service.settings import Settings
from tests.service.asking import RECORD, STRANGE, label, stored

OTHER = RECORD | {"amount": 77.0}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """No label waits for a second opinion: what is counted here are the others."""
    return settings.model_copy(update={"retrain_after": 5, "second_opinion_below": 0.0})


def new(client: httpx.Client, *items: dict[str, Any]) -> dict[str, Any]:
    answer = label(client, *items)
    stored(answer)
    found: dict[str, Any] = answer.json()["retraining"]
    return found


def by(analyst: str, verdict: str, record: dict[str, Any] = RECORD) -> dict[str, Any]:
    return {"record": record, "label": verdict, "analyst": analyst}


def read_by_a_job(ledger: Ledger) -> None:
    """A job reads all that was said so far, and fails."""
    with ledger.write() as connection:
        job = requests.request(connection, "default", Rule(5, 0), "test")
        assert jobs.take(connection, job, "w", now_ms(), now_ms() + 60_000)
        last = connection.exec_driver_sql("SELECT value FROM clock WHERE name = 'labels'").scalar_one()
        jobs.renew(connection, job.job_id, "w", now_ms() + 60_000, watermark=last)
        jobs.end(connection, job.job_id, "w", "failed", now_ms(), ["no"])


def test_one_verdict_sent_many_times_is_one_and_starts_no_retraining(client: httpx.Client) -> None:
    for _ in range(20):
        assert new(client, by("mei", "normal")) == {"new_labels": 1, "triggers_at": 5}


def test_a_record_labelled_by_many_is_one_and_one_in_conflict_is_none(client: httpx.Client) -> None:
    assert new(client, *(by(f"analyst {i}", "normal") for i in range(9)))["new_labels"] == 1
    assert new(client, by("eve", "anomaly"))["new_labels"] == 0, "a retraining leaves it out"


def test_a_verdict_turned_to_and_fro_is_one_and_one_taken_back_is_none(client: httpx.Client) -> None:
    for verdict in ("normal", "anomaly") * 5:
        assert new(client, by("mei", verdict))["new_labels"] == 1
    for _ in range(10):
        mine = stored(label(client, by("mei", "normal", OTHER)))[0]
        assert new(client, {"retract": mine, "analyst": "mei"})["new_labels"] == 1


def test_a_record_that_a_job_has_read_counts_again_only_with_another_verdict(
    client: httpx.Client, ledger: Ledger
) -> None:
    first = stored(label(client, by("mei", "anomaly"), by("mei", "normal", OTHER)))[0]
    read_by_a_job(ledger)
    assert new(client, by("mei", "anomaly"))["new_labels"] == 0
    assert new(client, by("bob", "anomaly"))["new_labels"] == 0
    assert new(client, by("mei", "normal", STRANGE))["new_labels"] == 1
    assert new(client, by("bob", "normal"))["new_labels"] == 2, "in conflict: the next model forgets it"
    assert new(client, by("bob", "anomaly"))["new_labels"] == 1
    assert new(client, by("mei", "normal"), by("bob", "normal"))["new_labels"] == 2
    read_by_a_job(ledger)
    assert new(client, by("bob", "normal"))["new_labels"] == 0
    assert first


def test_what_was_learnt_and_is_taken_back_is_new(client: httpx.Client, ledger: Ledger) -> None:
    mine = stored(label(client, by("mei", "anomaly")))[0]
    read_by_a_job(ledger)
    assert new(client, {"retract": mine, "analyst": "mei"})["new_labels"] == 1

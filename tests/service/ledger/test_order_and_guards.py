"""The order of statements, the guards of a job's lease, and the alerts that analysts raise."""

from pathlib import Path

import sqlalchemy as sa
from msgspec.structs import replace

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.app import create_app
from nearnorm.service.ids import new_id, now_ms
from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.label_history import Label
from nearnorm.service.ledger.tables import jobs
from nearnorm.service.ledger.tables.feedback import labels
from nearnorm.service.retraining.jobs import requests
from nearnorm.service.retraining.jobs.requests import Rule
from nearnorm.service.settings import Settings
from tests.service.asking import RECORD, label, score, stored
from tests.service.running import home_with, serving


def test_of_two_statements_the_later_counts_wherever_the_database_keeps_them(ledger: Ledger) -> None:
    first = Label(new_id(), now_ms(), "default", "d", "anomaly", {}, "ann", "key")
    second = replace(first, feedback_id=new_id(), label="normal")
    for said in (first, second):
        with ledger.write() as connection:
            labels.append(connection, tick(connection, "labels"), [said])
    with ledger.write() as connection:  # on PostgreSQL it stands behind the other from now on
        moved = sa.update(labels.labels).where(labels.labels.c.feedback_id == first.feedback_id)
        connection.execute(moved.values(comment="seen", job_id="j"))
    with ledger.read() as connection:
        history = labels.about(connection, "default", ["d"])["d"]
    assert [said.feedback_id for said in history.statements] == [first.feedback_id, second.feedback_id]
    assert history.verdict == "normal"


def test_a_job_whose_worker_renewed_its_lease_meanwhile_is_not_taken(ledger: Ledger) -> None:
    now = now_ms()
    with ledger.write() as connection:
        waiting = requests.request(connection, "default", Rule(20, 0), "me")
        assert jobs.take(connection, waiting, "first", now, now + 1_000)
    later = now + 2_000
    with ledger.read() as connection:
        (lost,) = jobs.due(connection, requests.RELEASE, later)
    with ledger.write() as connection:
        assert jobs.renew(connection, lost.job_id, "first", later + 5_000) is not None
    with ledger.write() as connection:
        assert not jobs.take(connection, lost, "second", later, later + 5_000)
        found = jobs.find(connection, lost.job_id)
    assert found is not None
    assert found.worker == "first"


def test_a_job_that_another_took_and_lost_is_not_taken_by_what_was_read_before(ledger: Ledger) -> None:
    now = now_ms()
    with ledger.write() as connection:
        waiting = requests.request(connection, "default", Rule(20, 0), "me")
        assert jobs.take(connection, waiting, "first", now, now + 1_000)
    later = now + 2_000
    with ledger.read() as connection:
        (lost,) = jobs.due(connection, requests.RELEASE, later)
    with ledger.write() as connection:
        assert jobs.take(connection, lost, "second", later, later - 1)  # and is dead at once
        assert not jobs.take(connection, lost, "third", later, later + 1_000)
        found = jobs.find(connection, lost.job_id)
    assert found is not None
    assert (found.worker, found.attempts) == ("second", 2)


def test_two_workers_who_found_the_same_job_do_not_both_get_it(ledger: Ledger) -> None:
    now = now_ms()
    with ledger.write() as connection:
        waiting = requests.request(connection, "default", Rule(20, 0), "me")
        assert jobs.take(connection, waiting, "first", now, now + 1_000)
        assert not jobs.take(connection, waiting, "second", now, now + 1_000)


def test_an_alert_that_an_equal_confirmed_record_raised_is_kept(
    tmp_path: Path, payments: Bundle, url: str | sa.URL
) -> None:
    home = home_with(tmp_path / "home", payments)
    text = url if isinstance(url, str) else url.render_as_string()
    with serving(create_app(Settings(home=home, database_url=text, audit_rate=0.0))) as client:
        assert "event_id" not in score(client, RECORD)
        stored(label(client, {"record": RECORD, "label": "anomaly"}))
        raised = score(client, RECORD)
        assert raised["anomaly"]
        assert raised["event_id"]

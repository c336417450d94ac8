"""The starter serves until the first own model is activated, whose policy, queue and labels begin anew."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.store.folder import Activation, ModelStore
from nearnorm.service.app import create_app
from nearnorm.service.ledger.begin_anew import FirstOwn, after_starter, begin_anew, first_own
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.ledger.tables import jobs, lines
from nearnorm.service.ledger.tables.lines import Line, LineData
from nearnorm.service.retraining.jobs import requests
from nearnorm.service.settings import Settings
from tests.service.asking import RECORD, label, score, stored
from tests.service.events.test_candidates import at_revision
from tests.service.running import serving
from tests.service.waiting import logged, until
from tests.service.working import RULE

ODD = {"f1": 123, "f2": 213, "f3": 105, "f4": 0, "f5": 36, "f6": -2, "f7": -18, "f8": 69, "f9": 86}


@pytest.fixture
def starting(tmp_path: Path) -> Iterator[httpx.Client]:
    """The starter serves."""
    with serving(create_app(Settings(home=tmp_path, audit_rate=1.0))) as client:
        yield client


def asked(client: httpx.Client, path: str, name: str) -> list[dict[str, Any]]:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()[name]
    return found


def test_queue_labels_and_policy_of_the_first_own_model_begin_anew(
    starting: httpx.Client, tmp_path: Path, payments: Bundle
) -> None:
    client = starting
    score(client, ODD, "odd")
    until(lambda: logged(client))
    (old,) = stored(label(client, {"record_id": "odd", "label": "anomaly", "analyst": "mei"}))
    score(client, ODD | {"f1": 124}, "next")
    until(lambda: len(asked(client, "/queue", "queue")) >= 1)
    client.put("/policy", json={"budget": "2%"}).raise_for_status()
    job = client.post("/jobs").json()["job_id"]

    version = ModelStore(tmp_path / "models").publish(payments.path)
    client.post(f"/models/{version}/activate").raise_for_status()
    (new,) = stored(label(client, {"record": RECORD, "label": "anomaly", "analyst": "mei"}))
    until(lambda: asked(client, "/events", "events") == [])
    assert all("f1" not in item["record"] for item in asked(client, "/queue", "queue"))
    assert [receipt["feedback_id"] for receipt in asked(client, "/feedback?analyst=mei", "receipts")] == [new]
    policy = client.get("/policy").json()["policy"]
    assert (policy["default"], policy["budget"]) == (True, "1%")
    assert client.get(f"/jobs/{job}").json()["state"] == "cancelled"
    assert score(client, RECORD)["matched_feedback"]["label"] == "anomaly"

    receipt = client.get(f"/feedback/{old}").json()
    assert (receipt["label"], receipt["record_id"]) == ("anomaly", "odd")
    assert client.post("/forget", json={"record_id": "odd"}).json() == {
        "events": 1,
        "labels": 1,
        "counted": 0,
    }


def entry(number: int, version: str, by: str, model: str = "default") -> Activation:
    at = f"2026-01-01T00:00:0{number}+00:00"
    return Activation(number=number, at=at, action="activate", model=model, version=version, by=by)


def test_what_a_retraining_made_of_the_starter_is_no_own_model(ledger: Ledger) -> None:
    with ledger.write() as connection:
        for champion, made in (("starter", "second"), ("second", "third"), ("other", "fourth")):
            job = requests.request(connection, "default", RULE, "test")
            values = {"state": "succeeded", "ended_at": 1, "champion": champion, "version": made}
            same = jobs.jobs.c.job_id == job.job_id
            connection.execute(sa.update(jobs.jobs).where(same).values(values))
        log = [entry(1, "starter", "starter"), entry(2, "third", "job:1"), entry(3, "own", "cli")]
        assert after_starter(log[:1]) == []
        assert first_own(connection, after_starter(log[:2])) is None
        own = first_own(connection, after_starter(log))
    assert own is not None
    assert own.before == {"starter", "second", "third"}
    assert own.at == 1_767_225_603_000
    assert after_starter([replace_by(log[0], "cli"), log[2]]) == []


def replace_by(old: Activation, by: str) -> Activation:
    return old.model_copy(update={"by": by})


def test_a_line_begins_anew_once_whatever_was_noted_of_it(ledger: Ledger) -> None:
    own = FirstOwn(1_000, frozenset({"starter"}))
    with ledger.write() as connection:
        lines.put(connection, Line("default", LineData("own.parquet"), 1, "test"))
        assert begin_anew(connection, own)
        assert not begin_anew(connection, own)
        line = lines.find(connection, "default")
    assert line is not None
    assert line.base.training_data == "own.parquet"


@pytest.mark.parametrize("used", [True, False])
def test_a_ledger_of_an_earlier_release_goes_on_as_it_is(empty_url: str | sa.URL, used: bool) -> None:
    ledger = Ledger(empty_url)
    with at_revision(ledger, "0024") as connection:
        if used:
            insert = (
                "INSERT INTO policies (model, version, budget, suppress_confirmed_normals, suppress_days, "
                "at, actor) VALUES ('default', 1, '2%', false, 30.0, 1, 'ops')"
            )
            connection.execute(sa.text(insert))
    migrate(ledger)
    with ledger.write() as connection:
        assert begin_anew(connection, FirstOwn(1_000, frozenset({"starter"}))) is not used
    ledger.close()

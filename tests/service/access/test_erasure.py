"""Erasure by record and by analyst: features are personal data."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.access.erasure import forget_analyst
from nearnorm.service.app import create_app
from nearnorm.service.ledger.database import Ledger, sqlite_url
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.ledger.tables.feedback import quarantine
from nearnorm.service.ledger.tables.feedback.quarantine import Quarantine
from nearnorm.service.settings import Settings
from tests.service.asking import RECORD, STRANGE, label, problem, score, stored
from tests.service.running import home_with, serving
from tests.service.waiting import logged, until

TELLING = RECORD | {"amount": 123456.789, "country": "Neverland"}


def test_a_record_is_forgotten_in_events_labels_and_verdicts(client: httpx.Client) -> None:
    score(client, TELLING, "person")
    feedback_id = stored(label(client, {"record_id": "person", "label": "anomaly", "comment": "hers"}))[0]
    assert score(client, TELLING, "person")["matched_feedback"]["label"] == "anomaly"
    until(lambda: logged(client))
    score(client, TELLING, "person")  # one that still waits to be written
    erased = client.post("/forget", json={"record_id": "person"}).json()
    assert erased["labels"] == 1
    assert erased["events"] >= 2
    until(lambda: logged(client))
    receipt = client.get(f"/feedback/{feedback_id}").json()
    assert receipt["status"] == "erased"
    assert not {"record_id", "event_id"} & receipt.keys()
    assert "matched_feedback" not in score(client, TELLING)
    missing = label(client, {"record_id": "person", "label": "anomaly"})
    assert problem(missing, 422, "invalid-request")["errors"][0]["field"] == "record_id"
    entry = client.get("/audit").json()["audit"][0]
    assert entry["action"] == "forget"
    assert "person" not in str(entry)


def test_an_analyst_is_forgotten_and_their_verdicts_stay(client: httpx.Client) -> None:
    item = {"record": STRANGE, "label": "anomaly", "analyst": "ann", "comment": "mine"}
    feedback_id = stored(label(client, item))[0]
    assert client.post("/forget", json={"analyst": "ann"}).json() == {"events": 0, "labels": 1, "counted": 0}
    receipt = client.get(f"/feedback/{feedback_id}").json()
    assert receipt["analyst"].startswith("erased-")
    assert receipt["status"] == "waiting"
    assert score(client, STRANGE)["matched_feedback"]["label"] == "anomaly"


def test_an_analyst_in_quarantine_by_two_spellings_of_older_releases_is_forgotten(tmp_path: Path) -> None:
    ledger = Ledger(sqlite_url(tmp_path / "nearnorm.db"))
    migrate(ledger)
    with ledger.write() as connection:
        for spelling in ("ann ", "ann"):
            quarantine.add(connection, Quarantine("analyst", spelling, 1, "boss", "ann again"))
    forget_analyst(ledger, "ann ", "boss")
    with ledger.read() as connection:
        [left] = quarantine.every(connection)
    assert left.name.startswith("erased-")
    assert left.why == ""
    ledger.close()


@pytest.mark.parametrize("body", [{}, {"record_id": "a", "analyst": "b"}, {"who": "a"}, {"analyst": 7}])
def test_what_to_forget_has_to_be_said(client: httpx.Client, body: dict[str, object]) -> None:
    problem(client.post("/forget", json=body), 422, "invalid-request")


def test_nothing_of_a_forgotten_record_is_left_in_sqlites_files(tmp_path: Path, payments: Bundle) -> None:
    home = home_with(tmp_path / "home", payments)
    with serving(create_app(Settings(home=home, audit_rate=1.0))) as client:
        score(client, TELLING, "person")
        stored(label(client, {"record_id": "person", "label": "anomaly"}))
        until(lambda: logged(client))
        assert _holds(home, b"Neverland")
        client.post("/forget", json={"record_id": "person"})
        assert not _holds(home, b"Neverland")
        assert not _holds(home, b"123456.789")


def test_the_command_line_forgets_too(tmp_path: Path, payments: Bundle) -> None:
    home = home_with(tmp_path / "home", payments)
    with serving(create_app(Settings(home=home, audit_rate=1.0))) as client:
        score(client, TELLING, "person")
        stored(label(client, {"record_id": "person", "label": "anomaly"}))
        until(lambda: logged(client))
        nearnorm = [str(Path(sys.executable).parent / "nearnorm"), "forget"]
        environment = {**os.environ, "NEARNORM_HOME": str(home)}
        done = subprocess.run(
            [*nearnorm, "--record-id", "person"], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout == "1 events and 1 labels\n"
        until(lambda: "matched_feedback" not in score(client, TELLING), 5)
    both = subprocess.run(nearnorm, env=environment, capture_output=True, text=True, check=False)
    assert both.returncode == 2
    assert both.stderr == "nearnorm: give one of --record-id, --event-id and --analyst\n"


def _holds(home: Path, needle: bytes) -> bool:
    return any(needle in file.read_bytes() for file in home.glob("nearnorm.db*"))

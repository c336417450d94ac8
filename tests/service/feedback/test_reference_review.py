"""The review of a model's reference over HTTP and on the terminal, on both databases."""

import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.bundle.review import read_review
from nearnorm.service.app import create_app
from nearnorm.service.events.log import EventLog
from nearnorm.service.feedback.submission.request import Submission
from nearnorm.service.feedback.submission.resolve import Resolver
from nearnorm.service.feedback.submission.second_opinion import NORMAL_FROM, Opinion, weigh
from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.events.retention import Amount
from nearnorm.service.ledger.tables.feedback import labels, reference_rows, second_opinions
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.settings import Settings
from tests.service.asking import RECORD, label, score, stored
from tests.service.process.test_server import command, environment
from tests.service.running import serving


@pytest.fixture
def reviewed(ledger: Ledger, payments: Bundle) -> Ledger:
    """The ledger holds the rows, as after `nearnorm models import`."""
    with ledger.write() as connection:
        rows = read_review(payments.path, payments.manifest.core)
        reference_rows.put(connection, payments.version, rows)
        reference_rows.put(connection, payments.version, rows)  # twice is harmless
    return ledger


def offered(client: httpx.Client, limit: int = 20) -> list[dict[str, Any]]:
    queue: list[dict[str, Any]] = client.get("/queue", params={"limit": limit}).json()["queue"]
    return queue


def test_a_new_models_highest_reference_rows_come_first_and_once(
    reviewed: Ledger, client: httpx.Client, payments: Bundle
) -> None:
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while len(found) < 50:
        page = client.get("/queue", params={"limit": 7, **cursor}).json()
        found += [item for item in page["queue"] if item["why"] == "reference"]
        if "next" not in page:
            break
        cursor = {"cursor": page["next"]}
    scores = [item["score"] for item in found]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == payments.manifest.core.reference.scores[-1]
    assert len({item["event_id"] for item in found}) == len(found) >= 50
    assert found[0]["anomaly"]
    assert found[0]["percentile"] > 99.5


def test_a_confirmed_anomaly_leaves_the_reference_at_once_and_comes_back_when_retracted(
    reviewed: Ledger, client: httpx.Client
) -> None:
    (top, second, *_) = offered(client)
    before = score(client, RECORD)["percentile"]
    (feedback_id,) = stored(label(client, {"event_id": top["event_id"], "label": "anomaly"}))
    (now, *_) = offered(client)
    assert now["event_id"] == second["event_id"]
    assert now["percentile"] > second["percentile"]
    assert score(client, RECORD)["percentile"] == pytest.approx(before * 401 / 400)
    stored(label(client, {"retract": feedback_id}))
    assert score(client, RECORD)["percentile"] == before
    assert offered(client)[0]["event_id"] == top["event_id"]


def test_a_normal_row_stays_and_is_not_offered_again(reviewed: Ledger, client: httpx.Client) -> None:
    (top, second, *_) = offered(client)
    before = score(client, RECORD)["percentile"]
    stored(label(client, {"event_id": top["event_id"], "label": "normal"}))
    assert score(client, RECORD)["percentile"] == before
    assert offered(client)[0]["event_id"] == second["event_id"]


def test_a_receipt_says_nothing_of_how_a_row_ranked_that_was_never_scored(
    reviewed: Ledger, client: httpx.Client
) -> None:
    (top, *_) = offered(client)
    (feedback_id,) = stored(label(client, {"event_id": top["event_id"], "label": "normal"}))
    receipt = client.get(f"/feedback/{feedback_id}").json()
    assert receipt["event_id"] == top["event_id"]
    assert not [name for name in receipt if name.endswith("_before")]


def test_the_strangest_row_of_all_called_normal_waits_for_a_second_opinion(
    reviewed: Ledger, client: httpx.Client, payments: Bundle
) -> None:
    (top, *_) = offered(client)
    submission = Submission("default", [], "", "ann", False, None)
    item = {"event_id": top["event_id"], "label": "normal", "analyst": "ann"}
    with reviewed.write() as connection:
        log = EventLog(reviewed, 0.0, Amount(10, 10**9), 30.0)
        encoder = Encoder(payments.manifest.core.features, 10)
        bound = Resolver(connection, submission, log, encoder).bind(item)
        opinion = Opinion(1.0, NORMAL_FROM, 0, payments.version)
        change = tick(connection, "labels")
        labels.append(connection, change, [bound.label])
        weigh(connection, change, [bound], 95.0, lambda said: {one.digest: opinion for one in said}, False)
        assert second_opinions.count(connection, "default") == 1


def test_after_so_many_verdicts_no_more_are_offered(reviewed: Ledger, settings: Settings) -> None:
    few = settings.model_copy(update={"reference_reviews": 2})
    with serving(create_app(few)) as client:
        first = [item for item in offered(client) if item["why"] == "reference"]
        assert len(first) == 2
        stored(label(client, *({"event_id": item["event_id"], "label": "normal"} for item in first)))
        assert [item for item in offered(client) if item["why"] == "reference"] == []


def test_what_was_reviewed_holds_after_a_restart(reviewed: Ledger, settings: Settings) -> None:
    with serving(create_app(settings)) as client:
        (top, *_) = offered(client)
        stored(label(client, {"event_id": top["event_id"], "label": "anomaly"}))
        after = score(client, RECORD)["percentile"]
    with serving(create_app(settings)) as client:
        assert score(client, RECORD)["percentile"] == after


def test_a_forgotten_row_is_gone_and_the_version_stays(
    reviewed: Ledger, client: httpx.Client, payments: Bundle
) -> None:
    (top, second, *_) = offered(client)
    answer = client.post("/forget", json={"event_id": top["event_id"]})
    assert answer.json() == {"events": 1, "labels": 0, "counted": 0}
    assert offered(client)[0]["event_id"] == second["event_id"]
    assert label(client, {"event_id": top["event_id"], "label": "anomaly"}).status_code == 422
    assert client.get("/readyz").json()["models"][0]["version"] == payments.version


def test_a_row_is_reviewed_on_the_terminal_after_an_import(tmp_path: Path, payments: Bundle) -> None:
    home = tmp_path / "home"

    def nearnorm(*words: str, typed: str = "") -> str:
        run = subprocess.run(
            command(*words), env=environment(home), input=typed, capture_output=True, text=True, check=True
        )
        return run.stdout

    version = nearnorm("models", "import", str(payments.path)).split()[-1]
    nearnorm("models", "activate", version)
    shown = nearnorm("review", typed="a\ns\nq\n")
    assert "1 of 50: score" in shown
    assert "amount:" in shown
    assert shown.splitlines()[-1].startswith(("1 rows judged", "[a]nomaly"))
    with serving(create_app(Settings(home=home))) as client:
        reference = payments.manifest.core.reference
        assert offered(client)[0]["score"] == reference.review[1].score
    assert version == payments.version

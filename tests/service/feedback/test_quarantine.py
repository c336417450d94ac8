"""A labeller in quarantine: nothing they said counts, anywhere, until they are released."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.retraining import LearntRecord, Placement
from nearnorm.service.access import keyring
from nearnorm.service.app import create_app
from nearnorm.service.feedback import analysts
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.label_history import Label
from nearnorm.service.ledger.tables import jobs, snapshot
from nearnorm.service.ledger.tables.feedback import erasure, labels
from nearnorm.service.retraining.jobs.requests import Rule, request, unread
from nearnorm.service.settings import Settings
from tests.service.access.test_keys import known
from tests.service.asking import RECORD, STRANGE, label, problem, score, stored
from tests.service.running import home_with, serving
from tests.service.waiting import until

OTHER = RECORD | {"amount": 77.0}

ODD, ODDER = STRANGE | {"amount": 880.0}, STRANGE | {"amount": 940.0}
"""What the model finds strange too: calling it an anomaly waits for nobody."""


def by(analyst: str, label_: str, record: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"record": record or RECORD, "label": label_, "analyst": analyst}


def quarantine(client: httpx.Client, name: str, **query: str) -> httpx.Response:
    return client.post(f"/analysts/{name}/quarantine", json={"why": "poison"}, params=query)


def release(client: httpx.Client, name: str, **query: str) -> httpx.Response:
    return client.delete(f"/analysts/{name}/quarantine", params=query)


def status(client: httpx.Client, feedback_id: str) -> str:
    found: str = client.get(f"/feedback/{feedback_id}").json()["status"]
    return found


def queued(client: httpx.Client) -> set[str | None]:
    return {item.get("id") for item in client.get("/queue", params={"limit": 200}).json()["queue"]}


def test_labels_of_one_in_quarantine_stop_counting_at_once_and_count_again_after_release(
    client: httpx.Client,
) -> None:
    score(client, ODD, "tx-1")
    feedback_id = stored(label(client, by("eve", "anomaly", ODD)))[0]
    assert score(client, ODD)["anomaly"] is True
    assert "tx-1" not in queued(client)

    assert quarantine(client, "eve").json() == {"kind": "analyst", "name": "eve", "records": 1}
    assert "matched_feedback" not in score(client, ODD)
    assert status(client, feedback_id) == "quarantined"
    until(lambda: queued(client))
    answer = label(client, by("ann", "anomaly", ODDER)).json()
    assert answer["retraining"]["new_labels"] == 1  # ann's alone

    assert release(client, "eve").json() == {"kind": "analyst", "name": "eve", "records": 1}
    assert score(client, ODD)["matched_feedback"] == {"feedback_id": feedback_id, "label": "anomaly"}
    assert status(client, feedback_id) == "waiting"
    assert label(client, by("ann", "anomaly", STRANGE)).json()["retraining"]["new_labels"] == 3


def test_the_others_verdict_stands_alone(client: httpx.Client) -> None:
    ann = stored(label(client, by("ann", "normal")))[0]
    label(client, by("eve", "anomaly"))
    assert score(client, RECORD)["matched_feedback"]["label"] == "conflict"
    quarantine(client, "eve")
    assert score(client, RECORD)["matched_feedback"] == {"feedback_id": ann, "label": "normal"}
    assert "conflicts_with" not in client.get(f"/feedback/{ann}").json()


def test_a_retraction_of_one_in_quarantine_takes_nothing_back(client: httpx.Client) -> None:
    ann = stored(label(client, by("ann", "anomaly", ODD)))[0]
    stored(label(client, {"retract": ann, "analyst": "eve"}))
    assert "matched_feedback" not in score(client, ODD)
    quarantine(client, "eve")
    assert score(client, ODD)["matched_feedback"]["feedback_id"] == ann
    assert status(client, ann) == "waiting"
    stored(label(client, {"retract": ann, "analyst": "ann"}))  # it was not retracted before
    assert "matched_feedback" not in score(client, ODD)


def test_what_one_says_in_quarantine_is_stored_and_told_so(client: httpx.Client) -> None:
    label(client, by("eve", "anomaly"))
    quarantine(client, "eve")
    receipt = label(client, by("eve", "anomaly", OTHER)).json()["receipts"][0]
    assert receipt["status"] == "quarantined"
    assert "matched_feedback" not in score(client, OTHER)
    release(client, "eve")
    assert score(client, OTHER)["matched_feedback"]["feedback_id"] == receipt["feedback_id"]


def test_the_trail_tells_who_and_why(client: httpx.Client) -> None:
    label(client, by("eve", "anomaly"))
    quarantine(client, "eve")
    listed = client.get("/analysts").json()["quarantine"]
    assert [(q["kind"], q["name"], q["by"], q["why"]) for q in listed] == [
        ("analyst", "eve", "anonymous", "poison")
    ]
    client.delete("/analysts/eve/quarantine", params={"why": "it was a mistake"})
    assert client.get("/analysts").json()["quarantine"] == []
    after, before = client.get("/audit", params={"limit": 2}).json()["audit"]
    assert (before["action"], before["subject"]) == ("quarantine", "analyst eve")
    assert before["detail"] == {"why": "poison", "records": 1}
    assert (after["action"], after["subject"]) == ("quarantine.release", "analyst eve")
    assert after["detail"] == {"why": "it was a mistake", "records": 1}


def test_mistakes_are_told(client: httpx.Client) -> None:
    label(client, by("eve", "anomaly"))
    problem(quarantine(client, "nobody"), 404, "not-found")
    problem(quarantine(client, "eve", by="badge"), 422, "invalid-request")
    problem(release(client, "eve"), 404, "not-found")
    quarantine(client, "eve")
    assert "since" in problem(quarantine(client, "eve"), 409, "conflict")["detail"]
    for why in ("", " ", "x" * 1001, "a\0b"):
        refused = client.post("/analysts/eve/quarantine", json={"why": why})
        assert problem(refused, 422, "invalid-request")["field"] == "why"
    for why in ("x" * 1001, "a\0b"):
        told = problem(client.delete("/analysts/eve/quarantine", params={"why": why}), 422, "invalid-request")
        assert told["field"] == "why"
        assert "at most 1,000 characters, none of them NUL" in told["detail"]
    problem(client.post("/analysts/eve/quarantine", json={"because": "x"}), 422, "invalid-request")


def test_a_name_may_have_any_character(client: httpx.Client) -> None:
    name = "eve/quarantine?&%"
    label(client, by(name, "anomaly"))
    assert quarantine(client, "eve%2Fquarantine%3F%26%25").json()["name"] == name
    assert "matched_feedback" not in score(client, RECORD)


def test_a_key_in_quarantine_silences_all_that_it_brought_in_whatever_name(
    client: httpx.Client, settings: Settings
) -> None:
    ledger = Ledger(settings.database_url or "")
    with ledger.write() as connection:
        secrets = {
            name: keyring.create(connection, name, ["score", "feedback", "operate"], "test")[0]
            for name in ("good", "stolen")
        }
    ledger.close()
    known(client, secrets["stolen"])
    client.headers["X-API-Key"] = secrets["good"]
    ann = stored(label(client, by("ann", "normal")))[0]
    client.headers["X-API-Key"] = secrets["stolen"]
    label(client, by("ann", "anomaly"), by("ann", "anomaly", OTHER))  # the thief claims to be ann
    client.headers["X-API-Key"] = secrets["good"]
    assert client.get("/analysts").json()["analysts"][0]["keys"] == ["good", "stolen"]
    assert quarantine(client, "stolen", by="key").json()["records"] == 2
    assert score(client, RECORD)["matched_feedback"] == {"feedback_id": ann, "label": "normal"}
    assert "matched_feedback" not in score(client, OTHER)


def test_one_who_is_erased_stays_in_quarantine_without_a_name(client: httpx.Client) -> None:
    label(client, by("eve", "anomaly"))
    quarantine(client, "eve")
    client.post("/forget", json={"analyst": "eve"})
    assert "matched_feedback" not in score(client, RECORD)
    label(client, by("ann", "anomaly", OTHER))  # a verdict is summed up again
    assert "matched_feedback" not in score(client, RECORD)
    told = client.get("/analysts").text + client.get("/audit").text
    assert "eve" not in told
    assert "poison" not in told


def test_others_are_told_apart_by_how_often_they_are_contradicted(client: httpx.Client) -> None:
    records = [RECORD | {"amount": float(i)} for i in range(4)]
    label(client, *(by("ann", "normal", r) for r in records))
    label(client, *(by("bob", "normal", r) for r in records[:2]))
    eve = stored(label(client, *(by("eve", "anomaly", r) for r in records[:3]), by("eve", "normal", OTHER)))
    stored(label(client, {"retract": eve[3], "analyst": "bob"}))
    told = {a["analyst"]: a for a in client.get("/analysts").json()["analysts"]}
    assert list(told) == ["eve", "ann", "bob"]
    counts = {name: (a["labels"], a["records"], a["compared"], a["contradicted"]) for name, a in told.items()}
    assert counts == {"eve": (4, 4, 4, 4), "ann": (4, 4, 3, 3), "bob": (2, 2, 2, 2)}
    assert told["eve"]["disagreement"] == 1.0
    quarantine(client, "eve")  # what she said speaks against nobody any more
    told = {a["analyst"]: a for a in client.get("/analysts").json()["analysts"]}
    assert [told[name]["disagreement"] for name in ("ann", "bob", "eve")] == [0.0, 0.0, 1.0]


def test_a_label_withdrawn_or_corrected_by_its_analyst_is_not_held_against_them(client: httpx.Client) -> None:
    first = stored(label(client, by("ann", "anomaly")))[0]
    label(client, by("ann", "normal"), by("bob", "normal"))
    second = stored(label(client, by("ann", "anomaly", OTHER)))[0]
    label(client, by("bob", "normal", OTHER), {"retract": second, "analyst": "ann"})
    assert first != second
    told = {a["analyst"]: a for a in client.get("/analysts").json()["analysts"]}
    assert (told["ann"]["records"], told["ann"]["compared"], told["ann"]["contradicted"]) == (1, 1, 0)
    assert (told["bob"]["compared"], told["bob"]["contradicted"]) == (1, 0)


def test_analysts_come_in_pages(client: httpx.Client) -> None:
    label(client, *(by(f"analyst {i}", "normal", RECORD | {"amount": float(i)}) for i in range(5)))
    names, query = [], {"limit": "2"}
    while query:
        page = client.get("/analysts", params=query).json()
        names += [a["analyst"] for a in page["analysts"]]
        query = {"limit": "2", "cursor": page["next"]} if "next" in page else {}
    assert names == [f"analyst {i}" for i in range(5)]


def statement(analyst: str, digest: str, change: int) -> Label:
    return Label(
        feedback_id=f"{analyst}-{digest}",
        at=now_ms(),
        model="default",
        digest=digest,
        label="anomaly",
        record={"amount": 1.0},
        analyst=analyst,
        actor="key",
        record_id=str(change),
    )


@pytest.fixture
def poisoned(ledger: Ledger) -> Ledger:
    """Ann and eve have each labelled a record of their own."""
    with ledger.write() as connection:
        for who in ("ann", "eve"):
            change = tick(connection, "labels")
            labels.append(connection, change, [statement(who, f"record of {who}", change)])
    return ledger


RULE = Rule(20, 0)


def test_the_next_snapshot_and_the_receipts_after_it_know_nothing_of_one_in_quarantine(
    poisoned: Ledger,
) -> None:
    with poisoned.write() as connection:
        assert unread(connection, "default").records == 2
        analysts.put(connection, "analyst", "eve", "poison", "ops", RULE)
        assert unread(connection, "default").records == 1
    with poisoned.read() as connection:
        seen = snapshot.read(connection, "default", "champion", 10)
    assert len(seen.verdicts) == 1
    assert "record of ann" in seen.verdicts[0]
    before, after = Placement(0.1, 90.0, False), Placement(0.9, 99.9, True)
    records = [LearntRecord(f"record of {who}", before, after, None) for who in ("ann", "eve")]
    with poisoned.write() as connection:
        labels.learnt(connection, "default", seen.watermark, "job", "version", records)
        found = {who: labels.find(connection, f"{who}-record of {who}") for who in ("ann", "eve")}
    assert [label and label.job_id for label in found.values()] == ["job", None]


def test_a_training_that_has_read_their_labels_is_cancelled_and_done_again(poisoned: Ledger) -> None:
    with poisoned.write() as connection:
        first = request(connection, "default", RULE, "ops")
        assert jobs.take(connection, first, "worker", now_ms(), now_ms() + 60_000)
        changed = analysts.put(connection, "analyst", "eve", "poison", "ops", RULE)
        running, waiting = jobs.running(connection, "default"), jobs.waiting(connection, "default")
    assert running
    assert running.cancelled_by == "ops"
    assert waiting
    assert waiting.job_id == changed.job_id != first.job_id


def test_a_verdict_that_ended_by_quarantine_is_kept_until_every_replica_has_heard(poisoned: Ledger) -> None:
    with poisoned.write() as connection:
        since = tick(connection, "labels")
        old = replace(statement("old", "record of old", 9), at=now_ms() - 10**9)
        labels.append(connection, tick(connection, "labels"), [old])
        analysts.put(connection, "analyst", "old", "poison", "ops", RULE)
        erasure.prune(connection, now_ms() - 3_600_000)
        changed = labels.changed_since(connection, "default", since)
    assert [(s.digest, s.verdict) for s in changed] == [("record of old", "none")]


@pytest.fixture
def strict(tmp_path: Path, url: Any, payments: Bundle) -> Iterator[httpx.Client]:
    text = url if isinstance(url, str) else url.render_as_string()
    settings = Settings(
        home=home_with(tmp_path / "home", payments), database_url=text, analyst_labels_per_hour=3
    )
    with serving(create_app(settings)) as client:
        yield client


def test_an_analyst_who_labels_too_fast_is_refused_and_nobody_else_is(strict: httpx.Client) -> None:
    records = [RECORD | {"amount": float(i)} for i in range(4)]
    stored(label(strict, *(by("eve", "anomaly", r) for r in records[:2])))
    refused = label(strict, *(by("eve", "anomaly", r) for r in records[2:]), by("ann", "normal", OTHER))
    told = problem(refused, 429, "too-many-labels")
    assert told["detail"] == (
        "analyst 'eve' may send 3 labels an hour (NEARNORM_ANALYST_LABELS_PER_HOUR), and 2 are in: "
        "send the 2 later"
    )
    assert told["field"] == "analyst"
    assert 3590 <= int(refused.headers["Retry-After"]) <= 3601
    assert "matched_feedback" not in score(strict, OTHER)  # nothing of the request was stored
    stored(label(strict, by("ann", "normal", OTHER)))
    stored(label(strict, by("eve", "anomaly", records[2]), key="last"))
    stored(label(strict, by("eve", "anomaly", records[2]), key="last"))  # sent again, it is not counted again
    problem(label(strict, by("eve", "anomaly", records[3])), 429, "too-many-labels")


def test_the_command_line_lists_quarantines_and_releases(tmp_path: Path, payments: Bundle) -> None:
    home = home_with(tmp_path / "home", payments)
    environment = {**os.environ, "NEARNORM_HOME": str(home)}
    nearnorm = [str(Path(sys.executable).parent / "nearnorm"), "analysts"]

    def run(*words: str) -> str:
        done = subprocess.run(
            [*nearnorm, *words], env=environment, capture_output=True, text=True, check=False
        )
        assert "Traceback" not in done.stderr
        return done.stdout or f"{done.returncode} {done.stderr}"

    with serving(create_app(Settings(home=home))) as client:
        label(client, by("ann", "normal"), by("eve", "anomaly"))
        told = run("quarantine", "eve", "--why", "poison")
        assert told == "analyst eve is in quarantine: 1 records\n"
        until(lambda: score(client, RECORD)["matched_feedback"]["label"] == "normal", 5)
        told = run("list")
        assert "eve: 1 labels by anonymous; 1 of 1 records judged by others too, 100% contradicted" in told
        assert "in quarantine: analyst eve since " in told
        assert run("release", "eve", "--why", "a mistake") == "analyst eve is released: 1 records\n"

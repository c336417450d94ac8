"""Keys bound to models: what a pattern means, what is erased by one, and what its webhooks are told."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.bundle.review import read_review
from nearnorm.models.errors import ConfigError
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.access import keyring
from nearnorm.service.app import create_app
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.seen_lines import EVERY_LINE, NO_LINE, SeenLines
from nearnorm.service.ledger.tables.events.events import events
from nearnorm.service.ledger.tables.feedback import reference_rows
from nearnorm.service.ledger.tables.jobs import jobs
from nearnorm.service.ledger.tables.webhooks import outbox
from nearnorm.service.settings import Settings
from tests.service.access.signing_in import Guarded
from tests.service.asking import RECORD, STRANGE, problem
from tests.service.process.test_server import command, environment
from tests.service.running import serving
from tests.service.waiting import until
from tests.service.webhooks.test_outbox import subscribe, waiting

MINE, THEIRS = "acme-cards", "beta-loans"


@pytest.mark.parametrize(
    ("patterns", "seen", "unseen"),
    [
        (["acme-cards"], ["acme-cards"], ["acme-cards2", "acme-card", "Acme-cards", "default"]),
        (["acme-*"], ["acme-", "acme-cards"], ["acme", "ACME-cards", "beta-acme-cards"]),
        (["a_c*", "beta"], ["a_c", "a_cd", "beta"], ["abc", "beta-loans"]),
        (["*"], ["acme-cards", "default"], []),
    ],
)
def test_a_pattern_means_the_same_here_and_in_the_database(
    ledger: Ledger, patterns: list[str], seen: list[str], unseen: list[str]
) -> None:
    lines = SeenLines.of(patterns)
    assert SeenLines.stored(lines.cell) == lines
    assert [name for name in (*seen, *unseen) if lines.sees(name)] == seen
    with ledger.read() as connection:
        fits = [
            name
            for name in (*seen, *unseen)
            if connection.execute(sa.select(lines.where(sa.literal(name)))).scalar()
        ]
    assert fits == seen


def test_who_sees_all_of_another_covers_it() -> None:
    acme, cards, beta = (SeenLines.of([one]) for one in ("acme-*", "acme-cards", "beta-*"))
    assert acme.covers(cards)
    assert not cards.covers(acme)
    assert not acme.covers(beta)
    assert not acme.covers(EVERY_LINE)
    assert EVERY_LINE.covers(acme)
    assert acme.covers(NO_LINE)


@pytest.mark.parametrize("pattern", ["", "a*b", "*a", "a,b", "-a", "a b", "a**"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError, match="names no models"):
        SeenLines.of([pattern])


def test_a_key_is_bound_on_the_command_line(tmp_path: Path) -> None:
    def keys(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command("keys", *arguments),
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )

    made = keys("create", "desk", "--role", "feedback", "--model", "beta", "--model", "acme-*")
    assert made.returncode == 0, made.stderr
    assert " desk feedback models=acme-*,beta" in keys("list").stdout
    refused = keys("create", "other", "--role", "feedback", "--model", "a*b")
    assert refused.returncode == 2
    assert "'a*b' names no models" in refused.stderr


@pytest.fixture
def tenants(settings: Settings, ledger: Ledger, payments: Bundle) -> Iterator[Guarded]:
    """One version in two tenants' models, and a key for each."""
    store = ModelStore(settings.home / "models")
    for model in (MINE, THEIRS):
        store.activate(payments.version, by="test", model=model)
    with ledger.write() as connection:
        keys = {
            name: keyring.create(connection, name, keyring.ROLES, "test", lines=SeenLines.of([f"{name}-*"]))[
                0
            ]
            for name in ("acme", "beta")
        }
    with serving(create_app(settings)) as client:
        yield Guarded(client, ledger, keys)


def asked(tenants: Guarded, key: str, method: str, path: str, **sent: Any) -> httpx.Response:
    return tenants.client.request(
        method, path, headers={"Authorization": f"Bearer {tenants.keys[key]}"}, **sent
    )


def test_an_erasure_by_a_bound_key_reaches_its_own_models_alone(tenants: Guarded, payments: Bundle) -> None:
    with tenants.ledger.write() as connection:
        rows = read_review(payments.path, payments.manifest.core)
        reference_rows.put(connection, payments.version, rows)
    for key, model in (("acme", MINE), ("beta", THEIRS)):
        sent = {"model": model, "ids": ["tx-1"], "records": [STRANGE]}
        assert asked(tenants, key, "POST", "/score", json=sent).status_code == 200

    def kept() -> list[str]:
        with tenants.ledger.read() as connection:
            return sorted(connection.scalars(sa.select(events.c.model)))

    until(lambda: kept() == [MINE, THEIRS])
    receipts = {}
    for key, model in (("acme", MINE), ("beta", THEIRS)):
        item = {"record_id": "tx-1", "label": "anomaly", "analyst": "mei", "comment": f"{key} knows"}
        answer = asked(tenants, key, "POST", "/feedback", json={"model": model, "labels": [item]})
        receipts[key] = answer.json()["receipts"][0]["feedback_id"]
    row = asked(tenants, "beta", "GET", f"/queue?model={THEIRS}&limit=1").json()["queue"][0]["event_id"]

    assert asked(tenants, "acme", "POST", "/forget", json={"analyst": "mei"}).json()["labels"] == 1
    assert asked(tenants, "acme", "POST", "/forget", json={"event_id": row}).json()["events"] == 0
    erased = asked(tenants, "acme", "POST", "/forget", json={"record_id": "tx-1"}).json()
    assert erased == {"events": 1, "labels": 1, "counted": 0}
    assert kept() == [THEIRS]
    assert asked(tenants, "acme", "GET", f"/feedback/{receipts['acme']}").json()["status"] == "erased"
    theirs = asked(tenants, "beta", "GET", f"/feedback/{receipts['beta']}").json()
    assert (theirs["analyst"], theirs["status"], theirs["record_id"]) == ("mei", "waiting", "tx-1")
    problem(asked(tenants, "acme", "GET", f"/feedback/{receipts['beta']}"), 404, "not-found")


def test_a_bound_key_puts_somebody_into_quarantine_in_a_model_of_its_own_and_in_no_other(
    tenants: Guarded,
) -> None:
    path, why = "/analysts/mei/quarantine", {"why": "because"}
    refused = asked(tenants, "acme", "POST", path, json=why)
    assert "every model" in problem(refused, 403, "forbidden")["detail"]
    assert asked(tenants, "acme", "GET", "/analysts").json() == {"analysts": [], "quarantine": []}
    body = {"labels": [{"record": RECORD, "label": "normal", "analyst": "mei"}]}
    for tenant, model in (("acme", MINE), ("beta", THEIRS)):
        assert asked(tenants, tenant, "POST", "/feedback", json={"model": model, **body}).status_code == 201
    theirs = {"model": THEIRS}
    problem(asked(tenants, "acme", "POST", path, params=theirs, json=why), 404, "unknown-model")
    assert asked(tenants, "acme", "POST", path, params={"model": MINE}, json=why).json()["records"] == 1
    (held,) = asked(tenants, "acme", "GET", "/analysts").json()["quarantine"]
    assert held["model"] == MINE
    assert asked(tenants, "beta", "GET", "/analysts").json()["quarantine"] == []
    (receipt,) = asked(tenants, "beta", "GET", "/feedback", params=theirs).json()["receipts"]
    assert receipt["status"] == "waiting"


def test_a_session_says_what_its_key_is_bound_to(tenants: Guarded) -> None:
    assert asked(tenants, "acme", "GET", "/session").json()["models"] == ["acme-*"]


def test_no_job_of_anothers_is_asked_for(tenants: Guarded) -> None:
    problem(asked(tenants, "acme", "POST", "/jobs", json={"model": THEIRS}), 404, "unknown-model")
    with tenants.ledger.read() as connection:
        assert connection.execute(sa.select(jobs.c.job_id)).all() == []


def test_a_webhook_is_told_of_the_models_that_its_key_sees(ledger: Ledger) -> None:
    mine = subscribe(ledger, "job", "quarantine", lines=SeenLines.of(["acme-*"]))
    every = subscribe(ledger, "job", "quarantine")
    with ledger.write() as connection:
        for model in (MINE, THEIRS):
            outbox.announce(connection, "job", "queued", f"job:{model}", {"model": model})
        body = {"labeller": "analyst", "name": "ann", "by": "ops"}
        outbox.announce(connection, "quarantine", "began", "quarantine:analyst ann", body)
    assert [message.subject for message in waiting(ledger, mine)] == [f"job:{MINE}"]
    assert len(waiting(ledger, every)) == 3

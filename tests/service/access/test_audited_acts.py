"""What cannot be written to the audit trail does not happen, and what fails after all is told there."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.app import create_app
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.settings import Settings
from tests.service.asking import problem
from tests.service.bundles import make_bundle
from tests.service.process.test_server import command, environment
from tests.service.running import home_with, serving


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("newer") / "payments", seed=1)


@pytest.fixture
def store(tmp_path: Path, payments: Bundle, newer: Bundle) -> ModelStore:
    home_with(tmp_path / "home", payments)
    store = ModelStore(tmp_path / "home" / "models")
    store.publish(newer.path)
    return store


@pytest.fixture
def client(tmp_path: Path, store: ModelStore, url: str | sa.URL) -> Iterator[httpx.Client]:
    text = url if isinstance(url, str) else url.render_as_string()
    with serving(create_app(Settings(home=store.root.parent, database_url=text))) as client:
        yield client


@pytest.fixture
def away(url: str | sa.URL) -> Iterator[contextlib.AbstractContextManager[None]]:
    """Within it nothing can be added to the trail."""
    ledger = Ledger(url)

    @contextlib.contextmanager
    def locked() -> Iterator[None]:
        with ledger.write() as connection:
            connection.execute(sa.text("ALTER TABLE audit RENAME TO elsewhere"))
        yield
        with ledger.write() as connection:
            connection.execute(sa.text("ALTER TABLE elsewhere RENAME TO audit"))

    yield locked()
    ledger.close()


def serves(client: httpx.Client) -> str:
    (model,) = client.get("/readyz").json()["models"]
    version: str = model["version"]
    return version


def trail(client: httpx.Client) -> list[tuple[str, str]]:
    """(action, version), oldest first."""
    entries: list[dict[str, Any]] = client.get("/audit").json()["audit"]
    return [(e["action"], e["detail"]["version"]) for e in reversed(entries)]


def test_a_version_is_not_activated_while_the_trail_cannot_be_written(
    client: httpx.Client, store: ModelStore, newer: Bundle, away: contextlib.AbstractContextManager[None]
) -> None:
    before = serves(client)
    with away:
        refused = client.post(f"/models/{newer.version}/activate")
    problem(refused, 503, "ledger-unavailable")
    assert serves(client) == before
    assert len(store.activations()) == 1
    assert trail(client) == []
    assert client.post(f"/models/{newer.version}/activate").status_code == 200
    assert trail(client) == [("activate", newer.version)]


def test_nothing_is_rolled_back_while_the_trail_cannot_be_written(
    client: httpx.Client, payments: Bundle, newer: Bundle, away: contextlib.AbstractContextManager[None]
) -> None:
    assert client.post(f"/models/{newer.version}/activate").status_code == 200
    with away:
        problem(client.post("/models/rollback"), 503, "ledger-unavailable")
    assert serves(client) == newer.version
    assert client.post("/models/rollback").status_code == 200
    assert serves(client) == payments.version
    assert trail(client) == [("activate", newer.version), ("rollback", payments.version)]


def test_a_reason_stands_in_the_trail_and_beside_the_version_that_it_was_given_for(
    client: httpx.Client, payments: Bundle, newer: Bundle
) -> None:
    client.post(f"/models/{newer.version}/activate", json={"reason": "it finds more"}).raise_for_status()
    back = client.post("/models/rollback", json={"reason": "too many false alerts"})
    assert back.json()["reason"] == "too many false alerts"
    entries = client.get("/audit").json()["audit"]
    assert [e["detail"]["reason"] for e in entries] == ["too many false alerts", "it finds more"]
    told = {model["version"]: model["activated"] for model in client.get("/models").json()["models"]}
    assert told[newer.version]["reason"] == "it finds more"
    assert told[payments.version] == back.json()
    assert {"at", "by", "action"} <= told[newer.version].keys()


@pytest.mark.parametrize("reason", ["", " \n", "a\0b", "x" * 1_001, 7])
def test_a_reason_that_says_nothing_is_refused(client: httpx.Client, newer: Bundle, reason: object) -> None:
    refused = client.post(f"/models/{newer.version}/activate", json={"reason": reason})
    assert problem(refused, 422, "invalid-request")["field"] == "reason"
    assert trail(client) == []


def test_what_was_refused_before_it_was_tried_is_not_in_the_trail(client: httpx.Client) -> None:
    assert client.post(f"/models/{'0' * 64}/activate").status_code == 404
    assert client.post("/models/rollback").status_code == 409
    assert trail(client) == []


def test_what_fails_after_it_was_noted_is_noted_as_failed(
    client: httpx.Client, store: ModelStore, newer: Bundle
) -> None:
    log = store.root / "activations"
    log.rename(store.root / "kept")
    log.symlink_to("/proc")  # no file can be made in it
    assert client.post(f"/models/{newer.version}/activate").status_code == 503
    log.unlink()
    (store.root / "kept").rename(log)
    assert trail(client) == [("activate", newer.version), ("activate.failed", newer.version)]


def test_the_command_line_writes_down_what_it_does_and_does_nothing_else(
    client: httpx.Client, store: ModelStore, newer: Bundle, url: str | sa.URL, away: Any
) -> None:
    database = url if isinstance(url, str) else url.render_as_string(False)

    def activate() -> int:
        surroundings = environment(store.root.parent, NEARNORM_DATABASE_URL=database)
        return subprocess.run(
            command("models", "activate", newer.version), env=surroundings, check=False
        ).returncode

    with away:
        assert activate() != 0
    assert len(store.activations()) == 1
    assert activate() == 0
    assert trail(client) == [("activate", newer.version)]

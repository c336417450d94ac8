"""The ledger in trouble: scoring goes on, feedback says 503 and when to come again, and all mends itself."""

import contextlib
import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.errors import NearnormError
from nearnorm.service.app import create_app
from nearnorm.service.errors import LedgerUnavailable
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.services import Services
from nearnorm.service.settings import Settings
from tests.service.asking import RECORD, STRANGE, label, problem, score, stored
from tests.service.ledger.servers import Proxy
from tests.service.running import home_with, serving
from tests.service.waiting import quickest, until


def in_queue(client: httpx.Client, event_id: str) -> bool:
    answer = client.get("/queue", params={"limit": 200})
    return answer.status_code == 200 and any(i["event_id"] == event_id for i in answer.json()["queue"])


def refused_but_scoring(client: httpx.Client) -> str:
    """A label is refused for now, scoring is not held up meanwhile; the event that was kept."""
    refused = label(client, {"record": STRANGE, "label": "anomaly"}, key="trouble")
    assert problem(refused, 503, "ledger-unavailable")["detail"]
    assert int(refused.headers["Retry-After"]) > 0
    assert quickest(lambda: score(client, STRANGE)) < 2
    event_id: str = score(client, RECORD)["event_id"]
    return event_id


def recovers(client: httpx.Client, event_id: str) -> None:
    """The same request with the same key is taken, once; what was scored in the meantime arrives."""

    def taken() -> bool:
        return label(client, {"record": STRANGE, "label": "anomaly"}, key="trouble").status_code == 201

    until(taken)
    until(lambda: in_queue(client, event_id))
    again = label(client, {"record": STRANGE, "label": "anomaly"}, key="trouble")
    assert again.status_code == 201
    assert client.get("/analysts").json()["analysts"][0]["labels"] == 1


@contextlib.contextmanager
def service(tmp_path: Path, bundle: Bundle, database_url: str) -> Iterator[httpx.Client]:
    home = home_with(tmp_path / "home", bundle)
    settings = Settings(home=home, database_url=database_url, audit_rate=1.0)
    with serving(create_app(settings)) as client:
        yield client


def test_a_locked_database(tmp_path: Path, payments: Bundle) -> None:
    file = tmp_path / "nearnorm.db"
    with service(tmp_path, payments, f"sqlite:///{file}") as client:
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            event_id = refused_but_scoring(client)
            assert client.get("/queue").status_code == 200  # reading waits for nobody
        recovers(client, event_id)


def test_a_full_disk(tmp_path: Path, payments: Bundle) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        with service(tmp_path, payments, f"sqlite:///{disk}/nearnorm.db") as client:
            stored(label(client, {"record": RECORD | {"amount": 1.0}, "label": "normal"}))
            with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
                while filler.write(b"x" * 1024):
                    pass
            refused = label(client, {"record": STRANGE, "label": "anomaly"}, key="trouble")
            assert problem(refused, 503, "ledger-unavailable")["detail"]
            event_id = score(client, RECORD)["event_id"]
            (disk / "filler").unlink()
            until(lambda: in_queue(client, event_id))
            answer = label(client, {"record": STRANGE, "label": "anomaly"}, key="trouble")
            assert answer.json()["retraining"]["new_labels"] == 2
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture
def proxy(postgres: str) -> Iterator[tuple[Proxy, str]]:
    """A proxy in front of PostgreSQL, and the URL of a fresh database through it."""
    engine = sa.create_engine(
        postgres.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT"
    )
    name = f"p{time.time_ns()}"
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    proxy = Proxy(f"{postgres.partition('host=')[2]}/.s.PGSQL.5432")
    yield proxy, f"postgresql://postgres@127.0.0.1:{proxy.port}/{name}"
    proxy.close()


def test_a_network_that_is_silent(tmp_path: Path, payments: Bundle, proxy: tuple[Proxy, str]) -> None:
    network, url = proxy
    with service(tmp_path, payments, url) as client:
        network.mode = "silent"
        event_id = refused_but_scoring(client)
        network.mode = "open"
        recovers(client, event_id)


def test_connections_that_are_cut(tmp_path: Path, payments: Bundle, proxy: tuple[Proxy, str]) -> None:
    network, url = proxy
    with service(tmp_path, payments, url) as client:
        network.cut()
        stored(label(client, {"record": STRANGE, "label": "anomaly"}))
        assert score(client, STRANGE)["matched_feedback"]["label"] == "anomaly"


def test_a_server_that_is_down_and_comes_back(
    tmp_path: Path, payments: Bundle, proxy: tuple[Proxy, str]
) -> None:
    network, url = proxy
    with service(tmp_path, payments, url) as client:
        network.mode = "refused"
        network.cut()
        event_id = refused_but_scoring(client)
        assert client.get("/readyz").status_code == 200
        network.mode = "open"
        recovers(client, event_id)


def test_postgresqls_words_stay_in_the_log() -> None:
    with contextlib.closing(Ledger("postgresql://somebody@127.0.0.1:1/nothing")) as ledger:
        with pytest.raises(LedgerUnavailable) as told, ledger.read():
            pass
        assert told.value.detail == "the ledger cannot be used now (connection): send it again"
        assert "127.0.0.1" in str(told.value)


def test_a_ledger_that_cannot_be_opened_is_told_in_one_sentence(tmp_path: Path) -> None:
    services = Services(Settings(home=tmp_path, database_url="postgresql://nobody@127.0.0.1:1/nothing"))
    with pytest.raises(NearnormError, match="the ledger cannot be opened"):
        services.start(dict)
    services.close()

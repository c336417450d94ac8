"""Commands on both databases, another machine, an S3 API, and PostgreSQL's own programs."""

import os
import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.ledger.database import sqlite_url
from nearnorm.service.settings import Settings
from tests.models.store.s3_server import endpoint as endpoint
from tests.models.store.s3_server import s3 as s3
from tests.service.backup.machines import Elsewhere
from tests.service.bundles import make_bundle
from tests.service.commands import nearnorm as nearnorm
from tests.service.ledger.servers import programs_of_postgresql


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """pg_dump and pg_restore of the server's release, first on the PATH."""
    monkeypatch.setenv("PATH", f"{programs_of_postgresql()}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("newer") / "payments", seed=1)


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "backup")


@pytest.fixture
def elsewhere(
    request: pytest.FixtureRequest, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Elsewhere:
    """Another machine: an empty home, an empty database, and the commands there from now on."""

    def move(**changes: Any) -> Settings:
        home = tmp_path / f"new-{uuid.uuid4().hex[:6]}" / "home"
        url = sqlite_url(home / "nearnorm.db").render_as_string()
        if not str(settings.database_url).startswith("sqlite"):
            server: str = request.getfixturevalue("postgres")
            name = f"t{uuid.uuid4().hex}"
            with psycopg.connect(server, autocommit=True) as connection:
                connection.execute(f'CREATE DATABASE "{name}"'.encode())
            url = server.replace("/postgres?", f"/{name}?")
        found = settings.model_copy(update={"home": home, "database_url": url, **changes})
        monkeypatch.setenv("NEARNORM_HOME", str(found.home))
        monkeypatch.setenv("NEARNORM_DATABASE_URL", str(found.database_url))
        if found.model_store:
            monkeypatch.setenv("NEARNORM_MODEL_STORE", found.model_store)
        return found

    return move

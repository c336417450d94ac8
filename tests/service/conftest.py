"""One store with one small model, an application that serves it, and the ledger on both databases."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
import sqlalchemy as sa

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.app import create_app
from nearnorm.service.ledger.database import Ledger, sqlite_url
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.settings import Settings
from tests.service.bundles import make_bundle
from tests.service.ledger.servers import fresh_database, running_postgres
from tests.service.running import home_with, serving


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "payments")


@pytest.fixture(scope="session")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "other", seed=1)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Iterator[httpx.Client]:
    """Nothing in a module's tests changes what it serves."""
    home = home_with(tmp_path_factory.mktemp("home"), bundle)
    with serving(create_app(Settings(home=home))) as client:
        yield client


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URI of a server that lives as long as the tests, and does not wait for the disk: where others write
    much, a commit may take longer than a request waits for the ledger."""
    with running_postgres() as uri:
        with psycopg.connect(uri, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield uri


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str | sa.URL:
    """A fresh, empty database."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "nearnorm.db")
    return fresh_database(request.getfixturevalue("postgres"))


@pytest.fixture
def ledger(url: str | sa.URL) -> Iterator[Ledger]:
    opened = Ledger(url)
    migrate(opened)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def payments(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "payments")


@pytest.fixture
def settings(tmp_path: Path, url: str | sa.URL, payments: Bundle) -> Settings:
    """Every row is kept, so that a test need not be lucky."""
    home = home_with(tmp_path / "home", payments)
    text = url if isinstance(url, str) else url.render_as_string()
    return Settings(home=home, database_url=text, audit_rate=1.0)

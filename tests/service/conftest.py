"""One store with one small model, an application that serves it, and the ledger on both databases."""

import shutil
from collections.abc import Iterator
from contextlib import closing
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
from tests.service.ledger.servers import fresh_database, memory, running_postgres
from tests.service.running import home_with, serving
from tests.service.waiting import until


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
    with running_postgres(memory()) as uri:
        with psycopg.connect(uri, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield uri


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str | sa.URL]:
    """A database without a table."""
    if request.param == "sqlite":
        yield sqlite_url(tmp_path / "nearnorm.db")
    else:
        with fresh_database(request.getfixturevalue("postgres")) as uri:
            yield uri


@pytest.fixture(scope="session")
def ledger_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `url` copies on SQLite."""
    file = tmp_path_factory.mktemp("ledger") / "nearnorm.db"
    with closing(Ledger(sqlite_url(file))) as made:
        migrate(made)
    return file


@pytest.fixture(scope="session")
def ledger_database(postgres: str) -> str:
    """The name of the database that `url` copies on PostgreSQL, which nobody may be connected to."""
    with psycopg.connect(postgres, autocommit=True) as server:
        server.execute("CREATE DATABASE ledger")
        with closing(Ledger(postgres.replace("/postgres?", "/ledger?"))) as made:
            migrate(made)
        server.execute("ALTER DATABASE ledger ALLOW_CONNECTIONS false")
        here = "SELECT 1 FROM pg_stat_activity WHERE datname = 'ledger' AND backend_type = 'client backend'"
        until(lambda: server.execute(here).fetchone() is None)
    return "ledger"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str | sa.URL]:
    """A database with this release's tables, which are empty."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("ledger_file"), tmp_path / "nearnorm.db")
        yield sqlite_url(tmp_path / "nearnorm.db")
    else:
        copied = request.getfixturevalue("ledger_database")
        with fresh_database(request.getfixturevalue("postgres"), copied) as uri:
            yield uri


@pytest.fixture
def ledger(url: str | sa.URL) -> Iterator[Ledger]:
    opened = Ledger(url)
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

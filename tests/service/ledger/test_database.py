"""How the database is opened, migrated and shared."""

import re
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from nearnorm.models.errors import ConfigError
from nearnorm.service.errors import LedgerUnavailable
from nearnorm.service.ledger import database, migrations, usable_from
from nearnorm.service.ledger import migrate as migrating
from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.database import Ledger, metadata, sqlite_url
from nearnorm.service.ledger.migrate import _upgrade, migrate, revision
from nearnorm.service.retraining.jobs.requests import unread
from tests.service.waiting import until


def made(connection: sa.Connection) -> set[tuple[object, ...]]:
    """Everything that stands in the database, in its own words."""
    if connection.dialect.name == "sqlite":
        rows = connection.execute(sa.text("SELECT name, sql FROM sqlite_master")).all()
        texts = {name: (sql or "").replace("DOUBLE PRECISION", "DOUBLE") for name, sql in rows}  # as alembic
        return {(name, " ".join(text.split())) for name, text in texts.items()}
    queries = (
        "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE connamespace = 'public'::regnamespace",
        "SELECT table_name, column_name, data_type, is_nullable, column_default "
        "FROM information_schema.columns WHERE table_schema = 'public'",
    )
    return {tuple(row) for query in queries for row in connection.execute(sa.text(query)).all()}


def test_an_empty_database_gets_what_all_migrations_would_make(empty_url: str | sa.URL) -> None:
    ledger = Ledger(empty_url)
    migrate(ledger)
    with ledger.write() as connection:
        created, usable = made(connection), usable_from.read(connection)
        metadata.drop_all(connection)
        connection.execute(sa.text("DROP TABLE alembic_version"))
        _upgrade(connection)
        assert created == made(connection)
        assert usable == usable_from.read(connection)
    ledger.close()
    assert len(created) > 40


def test_an_empty_database_is_made_without_alembic(tmp_path: Path) -> None:
    code = (
        "import sys; from nearnorm.service.ledger.database import Ledger; "
        "from nearnorm.service.ledger.migrate import migrate; "
        "migrate(Ledger(sys.argv[1])); assert 'alembic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, f"sqlite:///{tmp_path / 'ledger.db'}"], check=True)


def test_replicas_may_migrate_at_once(empty_url: str | sa.URL) -> None:
    code = """
import sys
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.migrate import migrate
migrate(Ledger(sys.argv[1]))
"""
    replicas = [subprocess.Popen([sys.executable, "-c", code, str(empty_url)]) for _ in range(3)]
    assert [replica.wait(60) for replica in replicas] == [0, 0, 0]


def test_a_start_waits_for_another_s_migration_of_a_file_however_long_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PATIENCE", 0.05)
    file = tmp_path / "nearnorm.db"
    with (
        closing(Ledger(sqlite_url(file))) as ledger,
        closing(sqlite3.connect(file, isolation_level=None)) as other,
    ):
        migrate(ledger)
        with ledger.read() as connection:
            newest = revision(connection)
        other.execute("UPDATE alembic_version SET version_num = '0031'")
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE alembic_version SET version_num = ?", (newest,))
        start = threading.Thread(target=migrate, args=(ledger,))
        with capture_logs() as told:
            start.start()
            until(lambda: len(told) > 1 or not start.is_alive())
            assert start.is_alive()
            assert {entry["event"] for entry in told} == {
                "another process has the ledger: waiting until its tables are brought up to date"
            }
            other.execute("COMMIT")
            start.join()
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailable, match="locked"):
            migrate(ledger)


def test_a_start_that_is_kept_out_by_another_s_last_moment_of_migration_tries_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring, tried = migrating._bring_up_to_date, []

    def kept_out_at_first(ledger: Ledger, known: list[str]) -> None:
        tried.append(known)
        if len(tried) > 1:
            return bring(ledger, known)
        busy = sqlite3.OperationalError("database is locked")
        busy.sqlite_errorcode = sqlite3.SQLITE_BUSY
        raise LedgerUnavailable("locked") from sa.exc.OperationalError("", {}, busy)

    with closing(Ledger(sqlite_url(tmp_path / "nearnorm.db"))) as ledger:
        migrate(ledger)
        monkeypatch.setattr(migrating, "_bring_up_to_date", kept_out_at_first)
        migrate(ledger)
    assert len(tried) == 2


def test_a_connection_that_is_in_use_while_its_ledger_closes_is_closed_when_it_is_given_back(
    ledger: Ledger,
) -> None:
    with ledger.read() as connection:
        driver: Any = connection.connection.driver_connection
        ledger.close()
    with pytest.raises((sqlite3.ProgrammingError, psycopg.OperationalError), match="closed"):
        driver.execute("SELECT 1")


def made_newer(ledger: Ledger) -> None:
    """By a release that only added: a table, a column."""
    with ledger.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        connection.execute(sa.text("CREATE TABLE later (id TEXT)"))
        connection.execute(sa.text("ALTER TABLE events ADD COLUMN later TEXT"))


def test_a_ledger_of_a_newer_release_that_only_added_is_used_as_it_is(ledger: Ledger) -> None:
    made_newer(ledger)
    migrate(ledger)
    with ledger.read() as connection:
        assert revision(connection) == "9999"


def test_a_ledger_of_a_newer_release_that_took_something_away_is_refused(ledger: Ledger) -> None:
    made_newer(ledger)
    with ledger.write() as connection:
        connection.execute(sa.text("UPDATE usable_from SET revision = '9999'"))
    with pytest.raises(ConfigError, match="newer than this release"):
        migrate(ledger)


def test_numbers_of_the_clock_have_no_gap_and_no_twin_among_writers(ledger: Ledger) -> None:
    numbers: list[int] = []

    def work() -> None:
        for _ in range(10):
            with ledger.write() as connection:
                numbers.append(tick(connection, "labels"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 41))


def test_readers_do_not_wait_for_a_writer(ledger: Ledger) -> None:
    with ledger.write() as writer:
        tick(writer, "labels")
        with ledger.read() as reader:
            assert unread(reader, "default").records == 0


def test_a_database_that_is_not_there_is_trouble_told_in_a_sentence() -> None:
    ledger = Ledger("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(LedgerUnavailable, match="send it again") as caught, ledger.read():
        pass
    assert caught.value.headers["Retry-After"] == "5"


def test_migrations_are_numbered_one_after_another() -> None:
    folder = Path(migrations.__file__).parent / "versions"
    texts = [path.read_text() for path in sorted(folder.glob("[0-9]*.py"))]
    steps = [re.findall(r'^(?:down_)?revision = (?:"(\d+)"|None)', text, re.MULTILINE) for text in texts]
    numbers = [f"{n:04}" for n in range(1, len(texts) + 1)]
    assert steps == [[number, before] for number, before in zip(numbers, ["", *numbers], strict=False)]


def test_postgresql_ends_a_transaction_that_stands_still_later_than_one_that_waits(
    postgres: str,
) -> None:
    """Three of four seconds without a statement may be want of CPU: on a busy machine labels got a 503."""
    ledger = Ledger(postgres)
    with ledger.read() as connection:
        waits, stands = (
            connection.scalar(sa.select(sa.cast(sa.func.current_setting(name), sa.Text)))
            for name in ("statement_timeout", "idle_in_transaction_session_timeout")
        )
    ledger.close()
    assert (waits, stands) == ("5s", "15s")

"""A ledger's file that is damaged, cut, deleted, replaced or another program's."""

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.errors import NearnormError
from nearnorm.service.app import create_app
from nearnorm.service.errors import LedgerUnavailable
from nearnorm.service.ledger.clock import clock, tick
from nearnorm.service.ledger.database import Ledger, sqlite_url
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.ledger.tables.events.events import events
from nearnorm.service.services import Services
from nearnorm.service.settings import Settings
from tests.service.asking import RECORD, STRANGE, label, problem, score, stored
from tests.service.running import home_with, serving
from tests.service.waiting import until

PAGE = 4096


def filled(file: Path) -> None:
    """A ledger as it is after some use, closed."""
    ledger = Ledger(sqlite_url(file))
    migrate(ledger)
    for _ in range(5):
        with ledger.write() as connection:
            tick(connection, "labels")
    ledger.close()


def garbage(file: Path) -> None:
    file.write_bytes(os.urandom(100_000))


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def overwritten(file: Path) -> None:
    with file.open("r+b") as pages:
        pages.seek(2 * PAGE)
        pages.write(os.urandom(file.stat().st_size - 2 * PAGE))


def one_page_overwritten(file: Path) -> None:
    with file.open("r+b") as pages:
        pages.seek(7 * PAGE)
        pages.write(os.urandom(PAGE))


@pytest.mark.parametrize("damage", [garbage, cut, overwritten, one_page_overwritten])
def test_a_damaged_file_is_told_in_one_sentence_at_the_start(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    file = tmp_path / "nearnorm.db"
    filled(file)
    damage(file)
    before = file.read_bytes()
    services = Services(Settings(home=tmp_path))
    with pytest.raises(NearnormError, match=r"nearnorm.db is damaged \(.*put a backup in its place") as told:
        services.start(dict)
    services.close()
    assert "\n" not in str(told.value)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE books (title)", "CREATE TABLE alembic_version (version_num)"]
)
def test_another_programs_file_is_refused_and_left_as_it_is(tmp_path: Path, statement: str) -> None:
    file = tmp_path / "nearnorm.db"
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute(statement)
        if "version_num" in statement:
            connection.execute("INSERT INTO alembic_version VALUES ('1975ea83b712')")
        connection.commit()
    services = Services(Settings(home=tmp_path))
    with pytest.raises(NearnormError, match="tables of another program"):
        services.start(dict)
    services.close()
    with contextlib.closing(sqlite3.connect(file)) as connection:
        assert len(connection.execute("SELECT * FROM sqlite_master").fetchall()) == 1


def test_an_empty_file_becomes_a_ledger(tmp_path: Path) -> None:
    (tmp_path / "nearnorm.db").touch()
    services = Services(Settings(home=tmp_path))
    services.start(dict)
    services.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ledger" / "nearnorm.db"


@pytest.fixture
def client(tmp_path: Path, payments: Bundle, file: Path) -> Iterator[httpx.Client]:
    home = home_with(tmp_path / "home", payments)
    settings = Settings(home=home, database_url=f"sqlite:///{file}", audit_rate=1.0)
    with serving(create_app(settings)) as client:
        yield client


def problems(client: httpx.Client) -> str:
    return " ".join(client.get("/readyz").json()["problems"])


def refused(client: httpx.Client) -> str:
    """A label is refused for now, and scoring goes on."""
    answer = label(client, {"record": STRANGE, "label": "anomaly"}, key="trouble")
    detail: str = problem(answer, 503, "ledger-unavailable")["detail"]
    assert score(client, RECORD)["event_id"]
    return detail


def test_nothing_is_acknowledged_into_a_deleted_file_and_a_restored_one_is_taken_up(
    client: httpx.Client, file: Path, tmp_path: Path
) -> None:
    stored(label(client, {"record": RECORD, "label": "normal"}))
    backup = tmp_path / "backup"
    with (
        contextlib.closing(sqlite3.connect(file)) as source,
        contextlib.closing(sqlite3.connect(backup)) as copy,
    ):
        source.backup(copy)
    for name in (file, file.with_name("nearnorm.db-wal"), file.with_name("nearnorm.db-shm")):
        name.unlink()
    assert "unable to open database file" in refused(client)
    assert list(file.parent.iterdir()) == []  # nobody made an empty ledger of it
    until(lambda: "unable to open database file" in problems(client))
    shutil.copy(backup, file)
    until(lambda: label(client, {"record": STRANGE, "label": "anomaly"}, key="trouble").status_code == 201)
    until(lambda: problems(client) == "")
    with contextlib.closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM labels").fetchone() == (2,)


def test_nothing_is_acknowledged_into_a_file_that_another_took_the_place_of(
    client: httpx.Client, file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.db"
    filled(other)
    other.replace(file)
    stored(label(client, {"record": STRANGE, "label": "anomaly"}))
    with contextlib.closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM labels").fetchone() == (1,)


def test_a_commit_does_not_count_where_the_file_goes_meanwhile(file: Path) -> None:
    filled(file)
    ledger = Ledger(sqlite_url(file))

    def label_and_lose() -> None:
        with ledger.write() as connection:
            tick(connection, "labels")
            file.unlink()

    with pytest.raises(LedgerUnavailable, match="deleted or replaced"):
        label_and_lose()
    ledger.close()


def test_a_commit_does_not_count_where_its_log_was_deleted(file: Path) -> None:
    filled(file)
    ledger = Ledger(sqlite_url(file))
    with ledger.write() as connection:
        tick(connection, "labels")
    file.with_name("nearnorm.db-wal").unlink()
    with pytest.raises(LedgerUnavailable, match="deleted or replaced"), ledger.write() as connection:
        tick(connection, "labels")
    with ledger.write() as connection:
        assert tick(connection, "labels") >= 7  # what was in the log is in the file
    ledger.close()


def test_damage_while_serving_is_told_and_refused(client: httpx.Client, file: Path) -> None:
    stored(label(client, {"record": RECORD, "label": "normal"}))
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    overwritten(file)
    assert "is damaged" in refused(client)
    until(lambda: "is damaged" in problems(client))


def test_nothing_is_acknowledged_from_memory_into_a_file_that_was_damaged(file: Path) -> None:
    filled(file)
    ledger = Ledger(sqlite_url(file))
    with ledger.read() as connection:
        connection.execute(sa.select(clock)).all()  # in memory now, and not in the log
    overwrite_table(file, "clock")
    with pytest.raises(LedgerUnavailable, match="is damaged"), ledger.write() as connection:
        tick(connection, "labels")
    ledger.close()


def test_once_damage_is_known_nothing_more_is_acknowledged(file: Path) -> None:
    filled(file)
    ledger = Ledger(sqlite_url(file))
    with ledger.write() as connection:
        tick(connection, "labels")  # in the log, where damage to the file does not reach it
    overwrite_table(file, "events")
    with pytest.raises(LedgerUnavailable, match="is damaged"), ledger.read() as connection:
        connection.execute(sa.select(events)).all()
    with pytest.raises(LedgerUnavailable, match="is damaged"), ledger.write() as connection:
        tick(connection, "labels")
    ledger.close()


def overwrite_table(file: Path, table: str) -> None:
    """The first page of a table."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", [table]).fetchone()[0]
    with file.open("r+b") as pages:
        pages.seek((page - 1) * PAGE)
        pages.write(os.urandom(PAGE))

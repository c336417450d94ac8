"""How the database is opened, migrated and shared."""

import subprocess
import sys
import threading

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from models.errors import ConfigError
from service.errors import LedgerUnavailable
from service.ledger import audit, events, keys, labels, policy, requests
from service.ledger.clock import tick
from service.ledger.database import Ledger, metadata
from service.ledger.migrate import migrate
from service.retraining import new_labels

TABLES = [audit.trail, events.events, keys.keys, labels.labels, policy.policies, requests.requests]


def test_migrations_make_the_tables_that_the_code_uses(ledger: Ledger) -> None:
    with ledger.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    assert all(table.metadata is metadata for table in TABLES)


def test_replicas_may_migrate_at_once(url: str | sa.URL) -> None:
    code = (
        "import sys; from service.ledger.database import Ledger; from service.ledger.migrate import migrate; "
        "migrate(Ledger(sys.argv[1]))"
    )
    replicas = [subprocess.Popen([sys.executable, "-c", code, str(url)]) for _ in range(3)]
    assert [replica.wait(60) for replica in replicas] == [0, 0, 0]


def test_a_ledger_of_a_newer_release_is_refused(ledger: Ledger) -> None:
    with ledger.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
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
            assert new_labels(reader, "default") == 0


def test_a_database_that_is_not_there_is_trouble_told_in_a_sentence() -> None:
    ledger = Ledger("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(LedgerUnavailable, match="send it again") as caught, ledger.read():
        pass
    assert caught.value.headers["Retry-After"] == "5"

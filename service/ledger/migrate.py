"""Bring the database to this release's tables. Several replicas may start at once: one does it.

alembic is imported only for tables of an earlier release: it costs a start a fifth of a second, and 10 MB.
"""

import contextlib
import importlib
import math
import pkgutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from nearnorm.models.errors import ConfigError
from nearnorm.service.errors import LedgerUnavailable
from nearnorm.service.ledger import (
    clock,  # noqa: F401 - its table
    tables,
    usable_from,
)
from nearnorm.service.ledger.database import Ledger, create_tables, metadata
from nearnorm.service.ledger.faults import is_locked
from nearnorm.service.logs import log

if TYPE_CHECKING:
    from alembic.config import Config

_LOCK = 0x6E656172  # "near": the key of the advisory lock on PostgreSQL; SQLite locks the file
_HISTORY = "alembic_version"
_SCRIPTS = Path(__file__).parent / "migrations"


def migrate(ledger: Ledger) -> None:
    """Raises LedgerUnavailable; ConfigError for a database that is damaged, another program's, or newer."""
    known = known_revisions()
    behind = True
    while True:
        try:
            _bring_up_to_date(ledger, known)
        except LedgerUnavailable as error:
            if not (ledger.is_sqlite and is_locked(error.__cause__) and behind):
                raise
            behind = _revision_now(ledger) != known[-1]  # if not, once more: the other may just be done
            if behind:
                log.info("another process has the ledger: waiting until its tables are brought up to date")
        else:
            return


def _revision_now(ledger: Ledger) -> str | None:
    with ledger.read() as connection:  # on SQLite who writes keeps nobody from reading
        return revision(connection)


def _bring_up_to_date(ledger: Ledger, known: list[str]) -> None:
    with ledger.write() as connection, _at_leisure(connection):
        if not ledger.is_sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        ledger.check(connection)
        at = revision(connection)
        _refuse_foreign(connection, at)
        if at == known[-1]:
            return
        if at is None:
            _create(connection, known[-1])
            return
        if at not in known:
            if usable_from.read(connection) not in known:
                raise ConfigError(
                    f"the ledger has revision {at}, which is newer than this release: upgrade nearnorm"
                )
            log.warning("the ledger is of a newer release, which only added to it", revision=at)
            return
        _upgrade(connection)


@contextlib.contextmanager
def _at_leisure(connection: sa.Connection) -> Iterator[None]:
    """A large ledger takes minutes to migrate, and the other replicas wait for the one that does it."""
    driver: Any = connection.connection.driver_connection
    if isinstance(driver, sqlite3.Connection):
        yield
        return
    for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
        connection.execute(sa.select(sa.func.set_config(name, "0", True)))
    patience, driver.patience = driver.patience, math.inf
    try:
        yield
    finally:
        driver.patience = patience


def known_revisions() -> list[str]:
    """The migrations of this release, oldest first."""
    return sorted(path.name.partition("_")[0] for path in (_SCRIPTS / "versions").glob("[0-9]*_*.py"))


def own_tables(connection: sa.Connection) -> list[str]:
    """Those of our tables that the database has, in the order in which they can be made."""
    _load_tables()
    there = set(sa.inspect(connection).get_table_names())
    return [name for name in (*(table.name for table in metadata.sorted_tables), _HISTORY) if name in there]


def drop_tables(connection: sa.Connection) -> None:
    """Those, and what is in them."""
    for name in reversed(own_tables(connection)):
        connection.execute(sa.text(f'DROP TABLE "{name}"'))


def revision(connection: sa.Connection) -> str | None:
    """The newest migration that this database has seen; None: it is empty."""
    if not sa.inspect(connection).has_table(_HISTORY):
        return None
    found: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _refuse_foreign(connection: sa.Connection, revision: str | None) -> None:
    """A database on PostgreSQL may hold other tables beside ours, a file of SQLite may not."""
    there = set(sa.inspect(connection).get_table_names())
    same = {"events", "labels"} & there
    alone = connection.dialect.name == "sqlite"
    if (revision is not None and not same) or (revision is None and (same or (alone and there))):
        raise ConfigError(
            "the ledger's database holds tables of another program: name one of its own, or an empty one, by "
            "NEARNORM_DATABASE_URL"
        )


def _create(connection: sa.Connection, revision: str) -> None:
    """An empty database has no history to go through; what comes of both is the same."""
    versions = sa.Table(
        _HISTORY,
        sa.MetaData(),
        sa.Column("version_num", sa.String(32)),
        sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
    )
    _load_tables()
    versions.create(connection)
    connection.execute(sa.insert(versions).values(version_num=revision))
    create_tables(connection)
    usable_from.put(connection, usable_from.OLDEST)


def _load_tables() -> None:
    for module in pkgutil.walk_packages(tables.__path__, f"{tables.__name__}."):
        importlib.import_module(module.name)


def _upgrade(connection: sa.Connection) -> None:
    import alembic.command

    alembic.command.upgrade(configured(connection), "head")


def configured(connection: sa.Connection) -> "Config":
    """Alembic's word for our migrations, run in the connection's transaction."""
    import alembic.config

    config = alembic.config.Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["connection"] = connection
    return config

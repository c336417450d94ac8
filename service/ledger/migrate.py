"""Bring the database to this release's tables. Several replicas may start at once: one does it."""

from pathlib import Path

import alembic.command
import alembic.config
import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from models.errors import ConfigError
from service.ledger.database import Ledger

_LOCK = 0x6E656172  # "near": the key of the advisory lock on PostgreSQL; SQLite locks the file


def migrate(ledger: Ledger) -> None:
    """Raises LedgerUnavailable, or ConfigError for a database of a newer release."""
    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    script = ScriptDirectory.from_config(config)
    with ledger.write() as connection:
        if not ledger.is_sqlite:
            connection.execute(sa.text("SELECT set_config('statement_timeout', '0', true)"))
            connection.execute(sa.text("SELECT set_config('lock_timeout', '0', true)"))
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        at = MigrationContext.configure(connection).get_current_revision()
        if at == script.get_current_head():
            return
        if at is not None and at not in {revision.revision for revision in script.walk_revisions()}:
            raise ConfigError(
                f"the ledger has revision {at}, which is newer than this release: upgrade nearnorm"
            )
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "head")

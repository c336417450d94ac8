"""Which releases may use the ledger: those that know this migration. What came after it only added.

A release that finds migrations that it does not know goes on as long as it knows that one: a service that
starts again in the middle of an upgrade, or one that is put back. One that takes away sets its own number.
"""

import sqlalchemy as sa

from nearnorm.service.ledger.database import metadata

OLDEST = "0029"
"""As an empty ledger is made. Releases before it start on no ledger that is newer than they are."""

usable_from = sa.Table("usable_from", metadata, sa.Column("revision", sa.Text, primary_key=True))


def put(connection: sa.Connection, revision: str) -> None:
    connection.execute(sa.insert(usable_from).values(revision=revision))


def read(connection: sa.Connection) -> str:
    found: str = connection.execute(sa.select(usable_from.c.revision)).scalar_one()
    return found

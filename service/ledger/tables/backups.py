"""Backups that were taken whole: where, and when each ended. Whether they are still there nobody knows."""

import sqlalchemy as sa

from nearnorm.service.ledger.database import Milliseconds, insert, metadata

backups = sa.Table(
    "backups",
    metadata,
    sa.Column("place", sa.Text, primary_key=True),
    sa.Column("ended", Milliseconds, nullable=False),
)


def put(connection: sa.Connection, place: str, ended: int) -> None:
    fresh = insert(connection, backups).values(place=place, ended=ended)
    again = {"ended": fresh.excluded.ended}
    connection.execute(fresh.on_conflict_do_update(index_elements=["place"], set_=again))


def last(connection: sa.Connection) -> int:
    """When the last one ended, in milliseconds since 1970; 0: there was none."""
    ended: int | None = connection.execute(sa.select(sa.func.max(backups.c.ended))).scalar_one()
    return ended or 0

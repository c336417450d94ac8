"""How far the store's log of activations was told to webhooks: the log itself stands outside the ledger."""

import sqlalchemy as sa

from nearnorm.service.ledger.clock import clock
from nearnorm.service.ledger.database import insert

_NAME = "activations told"


def told(connection: sa.Connection) -> int | None:
    """The number of the newest entry that was told; None: nobody has followed the log yet."""
    query = sa.select(clock.c.value).where(clock.c.name == _NAME)
    found: int | None = connection.execute(query).scalar()
    return found


def move(connection: sa.Connection, before: int | None, number: int) -> bool:
    """Have it told up to a number, if nobody else has moved it since."""
    if before is None:
        fresh = insert(connection, clock).values(name=_NAME, value=number).on_conflict_do_nothing()
        return connection.execute(fresh.returning(clock.c.value)).first() is not None
    same = sa.and_(clock.c.name == _NAME, clock.c.value == before)
    return bool(connection.execute(sa.update(clock).where(same).values(value=number)).rowcount)

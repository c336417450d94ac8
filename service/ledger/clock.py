"""A clock that numbers transactions in the order of their commits: a sequence would not, on PostgreSQL."""

from typing import Literal

import sqlalchemy as sa

from nearnorm.service.ledger.database import insert, metadata

clock = sa.Table(
    "clock",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)


Name = Literal["labels", "policies", "claims", "sessions", "webhooks", "jobs"]


def read(connection: sa.Connection, *names: Name) -> tuple[int, ...]:
    """The newest number of each name; 0 where nothing has happened yet."""
    query = sa.select(clock.c.name, clock.c.value).where(clock.c.name.in_(names))
    found: dict[str, int] = dict(iter(connection.execute(query)))
    return tuple(found.get(name, 0) for name in names)


def tick(connection: sa.Connection, name: Name) -> int:
    """The next number. Until this transaction ends, no other gets past here under the same name."""
    first = insert(connection, clock).values(name=name, value=1)
    forward = first.on_conflict_do_update(index_elements=["name"], set_={"value": clock.c.value + 1})
    return int(connection.execute(forward.returning(clock.c.value)).scalar_one())

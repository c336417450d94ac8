"""What each process has let through since its start, so that others hold callers and lines to it too."""

from collections.abc import Mapping

import sqlalchemy as sa
from msgspec import Struct

from nearnorm.service.ledger.database import Milliseconds, insert, metadata

spending = sa.Table(
    "spending",
    metadata,
    sa.Column("process", sa.Text, primary_key=True),
    sa.Column("caller", sa.Text, primary_key=True),  # or a line, as `LineQuotas.meters` names it
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Column("at", Milliseconds, nullable=False),
)


class Spent(Struct, frozen=True):
    rows: int = 0
    requests: int = 0


def put(connection: sa.Connection, process: str, spent: Mapping[str, Spent], now: int) -> None:
    """By caller, in the place of what the process told before; at least one."""
    values = [
        {"process": process, "caller": caller, "rows": one.rows, "requests": one.requests, "at": now}
        for caller, one in spent.items()
    ]
    fresh = insert(connection, spending).values(values)
    new = {name: fresh.excluded[name] for name in ("rows", "requests", "at")}
    connection.execute(fresh.on_conflict_do_update(index_elements=["process", "caller"], set_=new))


def of_others(connection: sa.Connection, process: str) -> dict[tuple[str, str], Spent]:
    """By process and caller."""
    found = connection.execute(sa.select(spending).where(spending.c.process != process))
    return {(row.process, row.caller): Spent(row.rows, row.requests) for row in found}


def forget(connection: sa.Connection, before: int) -> None:
    """What was told last before a time, in milliseconds since 1970: of processes that are gone."""
    connection.execute(sa.delete(spending).where(spending.c.at < before))

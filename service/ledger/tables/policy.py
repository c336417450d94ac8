"""Policies, one row a version, never changed; and the traffic that a budget by the day is solved from."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict, fields

from nearnorm.service.ledger.database import Milliseconds, insert, metadata

policies = sa.Table(
    "policies",
    metadata,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("budget", sa.Text, nullable=False),  # as it was asked for: "0.5%", "40 a day"
    sa.Column("suppress_confirmed_normals", sa.Boolean, nullable=False),
    sa.Column("suppress_days", sa.Double, nullable=False),
    sa.Column("alert_on_novel", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("beneath", sa.Integer),  # the version that an undo goes back to
    sa.Column("at", Milliseconds, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
)

traffic = sa.Table(
    "traffic",
    metadata,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),  # since 1970
    sa.Column("bin", sa.Integer, primary_key=True, autoincrement=False),  # of service.budget.EDGES
    sa.Column("rows", sa.BigInteger, nullable=False),
)


class PolicyVersion(Struct, frozen=True):
    """`version` 0 is the default, which stands in no row."""

    version: int
    budget: str
    suppress_confirmed_normals: bool
    suppress_days: float
    alert_on_novel: bool
    beneath: int | None
    at: int
    actor: str


def current(connection: sa.Connection, model: str) -> PolicyVersion | None:
    """The newest version."""
    return _one(connection, _of(model).order_by(policies.c.version.desc()).limit(1))


def version(connection: sa.Connection, model: str, number: int) -> PolicyVersion | None:
    return _one(connection, _of(model).where(policies.c.version == number))


def add(connection: sa.Connection, model: str, policy: PolicyVersion) -> None:
    connection.execute(sa.insert(policies), [{"model": model, **asdict(policy)}])


def count(connection: sa.Connection, rows: Mapping[tuple[str, int, int], int]) -> None:
    """Add rows by (model, hour, bin). Keys are taken in order, so that two replicas never deadlock."""
    values = [
        {"model": model, "hour": hour, "bin": bin_, "rows": seen}
        for (model, hour, bin_), seen in sorted(rows.items())
    ]
    if values:
        fresh = insert(connection, traffic)
        more = fresh.on_conflict_do_update(
            index_elements=["model", "hour", "bin"], set_={"rows": traffic.c.rows + fresh.excluded.rows}
        )
        connection.execute(more, values)


def seen_since(connection: sa.Connection, model: str, hour: int) -> dict[int, int]:
    """Rows by bin from an hour on."""
    query = (
        sa.select(traffic.c.bin, sa.func.sum(traffic.c.rows))
        .where(traffic.c.model == model, traffic.c.hour >= hour)
        .group_by(traffic.c.bin)
    )
    return {bin_: int(rows) for bin_, rows in connection.execute(query)}


def first_hour(connection: sa.Connection, model: str, since: int) -> int | None:
    query = sa.select(sa.func.min(traffic.c.hour)).where(traffic.c.model == model, traffic.c.hour >= since)
    hour: int | None = connection.execute(query).scalar_one()
    return hour


def forget_traffic(connection: sa.Connection, before_hour: int) -> None:
    connection.execute(sa.delete(traffic).where(traffic.c.hour < before_hour))


def _of(model: str) -> sa.Select[Any]:
    return sa.select(*(policies.c[field.name] for field in fields(PolicyVersion))).where(
        policies.c.model == model
    )


def _one(connection: sa.Connection, query: sa.Select[Any]) -> PolicyVersion | None:
    row = connection.execute(query).one_or_none()
    return None if row is None else PolicyVersion(*row)

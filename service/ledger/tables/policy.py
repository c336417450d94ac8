"""Policies, one row a version, never changed.

A policy is set for a line of a model's versions: those that read the same columns (`FeatureSchema.line`).
Another model under the same name begins a line of its own.
"""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict, fields

from nearnorm.service.ledger.database import Milliseconds, metadata

policies = sa.Table(
    "policies",
    metadata,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("budget", sa.Text, nullable=False),  # as it was asked for: "0.5%", "40 a day"
    sa.Column("suppress_confirmed_normals", sa.Boolean, nullable=False),
    sa.Column("suppress_days", sa.Double, nullable=False),
    sa.Column("beneath", sa.Integer),  # the version that an undo goes back to
    sa.Column("at", Milliseconds, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("alert_on_novel", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("line", sa.Text),  # null: set by a release that knew no lines, and for all of them
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
    line: str | None


def current(
    connection: sa.Connection, model: str, line: str, until: int | None = None
) -> PolicyVersion | None:
    """The newest version that was set for a line, up to a time (ms) or until now."""
    ours = sa.or_(policies.c.line == line, policies.c.line.is_(None))
    if until is not None:
        ours = sa.and_(ours, policies.c.at <= until)
    return _one(connection, _of(model).where(ours).order_by(policies.c.version.desc()).limit(1))


def newest(connection: sa.Connection, model: str) -> PolicyVersion | None:
    """The newest version, whichever line it was set for: versions are numbered by model."""
    return _one(connection, _of(model).order_by(policies.c.version.desc()).limit(1))


def newest_versions(connection: sa.Connection, models: Collection[str]) -> dict[str, int]:
    """The number of the newest version of those models that have any."""
    newest = sa.select(policies.c.model, sa.func.max(policies.c.version))
    return dict(
        iter(connection.execute(newest.where(policies.c.model.in_(models)).group_by(policies.c.model)))
    )


def version(connection: sa.Connection, model: str, number: int) -> PolicyVersion | None:
    return _one(connection, _of(model).where(policies.c.version == number))


def add(connection: sa.Connection, model: str, policy: PolicyVersion) -> None:
    connection.execute(sa.insert(policies), [{"model": model, **asdict(policy)}])


def _of(model: str) -> sa.Select[Any]:
    return sa.select(*(policies.c[field.name] for field in fields(PolicyVersion))).where(
        policies.c.model == model
    )


def _one(connection: sa.Connection, query: sa.Select[Any]) -> PolicyVersion | None:
    row = connection.execute(query).one_or_none()
    return None if row is None else PolicyVersion(*row)

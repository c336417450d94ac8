"""Swaps under watch: what became of each version that the loop put into service, one row a version."""

import json
from typing import Any, Literal

import sqlalchemy as sa
from msgspec import Struct

from nearnorm.service.ledger.database import Milliseconds, insert, metadata

Outcome = Literal["watching", "kept", "worse", "rolled_back", "failed"]

swaps = sa.Table(
    "swaps",
    metadata,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("version", sa.Text, primary_key=True),
    sa.Column("before", sa.Text, nullable=False),  # the version that served until then
    sa.Column("since", Milliseconds, nullable=False),  # when it was activated
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("figures", sa.Text, nullable=False),  # JSON: the comparison, as last made
)


class Swap(Struct, frozen=True):
    """One row. `since` is in milliseconds since 1970."""

    model: str
    version: str
    before: str
    since: int
    outcome: Outcome = "watching"
    reason: str = ""
    figures: dict[str, Any] = {}


def put(connection: sa.Connection, swap: Swap) -> None:
    """In the place of what was known of the version."""
    row = {
        "model": swap.model,
        "version": swap.version,
        "before": swap.before,
        "since": swap.since,
        "outcome": swap.outcome,
        "reason": swap.reason,
        "figures": json.dumps(swap.figures),
    }
    fresh = insert(connection, swaps).values(row)
    told = {name: fresh.excluded[name] for name in row}
    connection.execute(fresh.on_conflict_do_update(index_elements=["model", "version"], set_=told))


def find(connection: sa.Connection, model: str, version: str) -> Swap | None:
    query = sa.select(swaps).where(swaps.c.model == model, swaps.c.version == version)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return Swap(**{**row._mapping, "figures": json.loads(row.figures)})


def problems(connection: sa.Connection) -> dict[tuple[str, str], str]:
    """What the watch has against versions, by model and version."""
    query = sa.select(swaps.c.model, swaps.c.version, swaps.c.reason)
    bad = connection.execute(query.where(swaps.c.outcome.in_(("worse", "failed"))))
    return {(model, version): f"model {model!r}: {reason}" for model, version, reason in bad}

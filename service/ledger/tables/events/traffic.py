"""Traffic by the hour: rows, alerts, and a sketch of the scores, by version, caller and writing process.

A process writes its own row of an hour again and again, with what it has counted so far: replicas never add
to each other's, and a restart begins another one.
"""

from collections.abc import Mapping, Sequence

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from nearnorm.service.ledger.database import insert, metadata

traffic_hours = sa.Table(
    "traffic_hours",
    metadata,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),  # since 1970
    sa.Column("version", sa.Text, primary_key=True),
    sa.Column("caller", sa.Text, primary_key=True),
    sa.Column("writer", sa.Text, primary_key=True),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("by_score", sa.BigInteger, nullable=False),  # alerts, by what raised them
    sa.Column("by_novelty", sa.BigInteger, nullable=False),
    sa.Column("by_label", sa.BigInteger, nullable=False),
    sa.Column("held_back", sa.BigInteger, nullable=False),  # rows that the budget alone held back
    sa.Column("bins", sa.Text, nullable=False),  # JSON: [[bin of score, rows], ...]
)

RESCORED = "rescored"
"""The writer of sketches that stand in for another version's traffic: kept events, scored again."""
NOBODY = ""
"""Their caller."""


class Counted(Struct):
    """What one process counted of one caller in one hour."""

    model: str
    hour: int
    version: str
    caller: str
    rows: int
    by_score: int
    by_novelty: int
    by_label: int
    held_back: int
    bins: dict[int, float]

    @property
    def raised(self) -> int:
        return self.by_score + self.by_novelty + self.by_label


def put(connection: sa.Connection, writer: str, counted: Sequence[Counted]) -> None:
    """Write what a process has counted so far. Keys are taken in order, so that replicas never deadlock."""
    keys = ("model", "hour", "version", "caller")
    values = sorted(
        ({**msgspec.structs.asdict(one), "writer": writer, "bins": _written(one.bins)} for one in counted),
        key=lambda row: tuple(row[key] for key in keys),
    )
    if values:
        fresh = insert(connection, traffic_hours)
        newer = {name: fresh.excluded[name] for name in traffic_hours.c.keys()[len(keys) + 1 :]}
        connection.execute(fresh.on_conflict_do_update(index_elements=[*keys, "writer"], set_=newer), values)


def since(connection: sa.Connection, model: str, version: str, hour: int, scored_from: int) -> list[Counted]:
    """All hours from `hour` on; bins only of `version`, from the hour `scored_from` on."""
    c = traffic_hours.c
    bins = sa.case((sa.and_(c.version == version, c.hour >= scored_from), c.bins), else_="[]").label("bins")
    query = sa.select(
        c.model,
        c.hour,
        c.version,
        c.caller,
        c.rows,
        c.by_score,
        c.by_novelty,
        c.by_label,
        c.held_back,
        bins,
    ).where(c.model == model, c.hour >= hour)
    return [Counted(**{**row._mapping, "bins": _read(row.bins)}) for row in connection.execute(query)]


class TrafficHour(Struct, frozen=True):
    """One hour of a model: rows scored, and alerts by what raised them."""

    hour: int
    rows: int
    by_score: int
    by_novelty: int
    by_label: int

    @property
    def raised(self) -> int:
        return self.by_score + self.by_novelty + self.by_label


def by_hour(connection: sa.Connection, model: str, hour: int) -> list[TrafficHour]:
    """Sums over versions, callers and writers of every counted hour from `hour` on, oldest first."""
    c = traffic_hours.c
    sums = (sa.func.sum(column) for column in (c.rows, c.by_score, c.by_novelty, c.by_label))
    query = (
        sa.select(c.hour, *sums)
        .where(c.model == model, c.hour >= hour, c.writer != RESCORED)
        .group_by(c.hour)
        .order_by(c.hour)
    )
    return [TrafficHour(*map(int, row)) for row in connection.execute(query)]


def is_known(connection: sa.Connection, model: str, version: str) -> bool:
    """Whether there is a sketch of the version's scores."""
    c = traffic_hours.c
    query = sa.select(c.hour).where(c.model == model, c.version == version).limit(1)
    return connection.execute(query).first() is not None


def forget(connection: sa.Connection, before_hour: int) -> None:
    connection.execute(sa.delete(traffic_hours).where(traffic_hours.c.hour < before_hour))


def _written(bins: Mapping[int, float]) -> str:
    return msgspec.json.encode(sorted(bins.items())).decode()


def _read(text: str) -> dict[int, float]:
    return dict(msgspec.json.decode(text, type=list[tuple[int, float]]))

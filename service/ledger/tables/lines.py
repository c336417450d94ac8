"""Lines of versions, each by its model's name: what its retrainings begin with, and what it may be asked for.

A line that was never created has no row, begins with what its champion's manifest recorded, and has no limit.
"""

import re

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict

from nearnorm.service.ledger.database import Milliseconds, insert, metadata
from nearnorm.service.ledger.quota import Quota

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
LIMITS = ("rows_per_second", "requests_per_second", "rows_per_request")
"""Of a quota, what a line may have."""
MOST_PRIORITY = 100
"""1 is what every line has."""

lines = sa.Table(
    "lines",
    metadata,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("training_data", sa.Text),
    sa.Column("reference_data", sa.Text),
    sa.Column("training_config", sa.Text),
    sa.Column("at", Milliseconds, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("begun", Milliseconds),  # when it began anew, after the starter; 0: before releases noted that
    sa.Column("rows_per_second", sa.BigInteger),
    sa.Column("requests_per_second", sa.BigInteger),
    sa.Column("rows_per_request", sa.BigInteger),
    sa.Column("priority", sa.Integer),  # of its retrainings; null: 1
)


class LineData(Struct, frozen=True):
    """Files or URLs, and a recipe's file, that retrainings begin with. None: as the champion has it."""

    training_data: str | None = None
    reference_data: str | None = None
    training_config: str | None = None

    def given(self) -> dict[str, str]:
        """What is told, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def over(self, older: "LineData") -> "LineData":
        """This, and the older where it tells nothing."""
        return LineData(**(older.given() | self.given()))


class Line(Struct, frozen=True):
    """One row."""

    model: str
    base: LineData
    at: int
    actor: str


def problem_of_name(name: str) -> str | None:
    """Why no line may be called so: `*` stands for many, and a comma parts them. None: it may."""
    if _NAME.fullmatch(name):
        return None
    return (
        f"{name[:80]!r} cannot be a model's name: that has 1 to 80 letters, digits and . _ -, and begins "
        "with a letter or a digit"
    )


def put(connection: sa.Connection, line: Line) -> None:
    """In the place of what was known of the line."""
    told = {**asdict(line.base), "at": line.at, "actor": line.actor}
    fresh = insert(connection, lines).values(model=line.model, **told)
    connection.execute(fresh.on_conflict_do_update(index_elements=["model"], set_=told))


def begin(connection: sa.Connection, model: str, at: int) -> bool:
    """Note that a line began anew; False: that was noted before."""
    row = {"model": model, "at": at, "actor": ""}
    connection.execute(insert(connection, lines).values(row).on_conflict_do_nothing(index_elements=["model"]))
    never = sa.and_(lines.c.model == model, lines.c.begun.is_(None))
    return bool(connection.execute(sa.update(lines).where(never).values(begun=at)).rowcount)


def limit(connection: sa.Connection, model: str, quota: Quota, at: int, actor: str) -> None:
    """Set what a line may be asked for, by all its callers together; of bodies it knows nothing."""
    told = {name: quota.limits().get(name) for name in LIMITS}
    fresh = insert(connection, lines).values(model=model, at=at, actor=actor, **told)
    connection.execute(fresh.on_conflict_do_update(index_elements=["model"], set_=told))


def quotas(connection: sa.Connection) -> dict[str, Quota]:
    """Of the lines that have any."""
    some = sa.or_(*(lines.c[name].is_not(None) for name in LIMITS))
    query = sa.select(lines.c.model, *(lines.c[name] for name in LIMITS)).where(some)
    return {model: Quota(*limits) for model, *limits in connection.execute(query)}


def prefer(connection: sa.Connection, model: str, priority: int, at: int, actor: str) -> None:
    """Set how many times sooner than others a line's retrainings have their turn."""
    fresh = insert(connection, lines).values(model=model, at=at, actor=actor, priority=priority)
    told = {"priority": priority}
    connection.execute(fresh.on_conflict_do_update(index_elements=["model"], set_=told))


def priorities(connection: sa.Connection) -> dict[str, int]:
    """Of the lines that were given one."""
    query = sa.select(lines.c.model, lines.c.priority).where(lines.c.priority.is_not(None))
    found: dict[str, int] = dict(iter(connection.execute(query)))
    return found


def find(connection: sa.Connection, model: str) -> Line | None:
    row = connection.execute(sa.select(lines).where(lines.c.model == model)).one_or_none()
    return None if row is None else _line(row)


def every(connection: sa.Connection) -> list[Line]:
    """Those that were created, by name."""
    return [_line(row) for row in connection.execute(sa.select(lines).order_by(lines.c.model))]


def _line(row: sa.Row[tuple[object, ...]]) -> Line:
    base = LineData(row.training_data, row.reference_data, row.training_config)
    return Line(row.model, base, row.at, row.actor)

"""Labellers in quarantine: what they say is stored, and does not count. The trail tells how it came to be.

One is in quarantine in every line, or in some, each on its own: one ends without the other.
"""

from typing import Literal

import sqlalchemy as sa
from msgspec import Struct

from nearnorm.service.ledger.database import Milliseconds, metadata
from nearnorm.service.ledger.seen_lines import SeenLines

quarantined = sa.Table(
    "quarantined",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("at", Milliseconds, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
)

in_lines = sa.Table(
    "quarantined_in_lines",
    metadata,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("at", Milliseconds, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
)

LabellerKind = Literal["analyst", "key"]
"""A label's `analyst` is what its sender says; its `key` is the API key that brought it, which we checked."""


class Quarantine(Struct, frozen=True):
    """`model`: the line that it holds in; None: every one."""

    kind: LabellerKind
    name: str
    at: int
    actor: str
    why: str
    model: str | None = None


class Silenced(Struct, frozen=True):
    """Whose statements do not count in a line."""

    analysts: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()

    def covers(self, analyst: str, key: str) -> bool:
        return analyst in self.analysts or key in self.keys


def every(connection: sa.Connection) -> list[Quarantine]:
    """All that are in force in every line, oldest first."""
    rows = connection.execute(sa.select(quarantined).order_by(quarantined.c.at, quarantined.c.name))
    return [Quarantine(**row._mapping) for row in rows]


def of_lines(connection: sa.Connection, lines: SeenLines) -> list[Quarantine]:
    """All that are in force in one of these lines alone, oldest first."""
    query = sa.select(in_lines).where(lines.where(in_lines.c.model))
    rows = connection.execute(query.order_by(in_lines.c.at, in_lines.c.name, in_lines.c.model))
    return [Quarantine(**row._mapping) for row in rows]


def find(connection: sa.Connection, kind: LabellerKind, name: str, model: str | None) -> Quarantine | None:
    table, same = _where(kind, name, model)
    row = connection.execute(sa.select(table).where(same)).one_or_none()
    return None if row is None else Quarantine(**row._mapping)


def silenced(connection: sa.Connection, model: str) -> Silenced:
    own = connection.execute(sa.select(in_lines.c.kind, in_lines.c.name).where(in_lines.c.model == model))
    in_force = [*((q.kind, q.name) for q in every(connection)), *((kind, name) for kind, name in own)]
    return Silenced(
        frozenset(name for kind, name in in_force if kind == "analyst"),
        frozenset(name for kind, name in in_force if kind == "key"),
    )


def add(connection: sa.Connection, new: Quarantine) -> None:
    row = {"kind": new.kind, "name": new.name, "at": new.at, "actor": new.actor, "why": new.why}
    if new.model is None:
        connection.execute(sa.insert(quarantined), [row])
    else:
        connection.execute(sa.insert(in_lines), [{"model": new.model, **row}])


def remove(connection: sa.Connection, kind: LabellerKind, name: str, model: str | None = None) -> bool:
    """False where nobody of that name is in quarantine there."""
    table, same = _where(kind, name, model)
    return bool(connection.execute(sa.delete(table).where(same)).rowcount)


def rename_analyst(connection: sa.Connection, analyst: str, pseudonym: str) -> None:
    """Who is erased while in quarantine stays in it; the reason, which may name them, goes.

    A second spelling of their name, of older releases, is in it by the first.
    """
    if find(connection, "analyst", pseudonym, None):
        remove(connection, "analyst", analyst)
    else:
        table, same = _where("analyst", analyst, None)
        connection.execute(sa.update(table).where(same).values(name=pseudonym, why=""))


def rename_in_lines(connection: sa.Connection, analyst: str, pseudonym: str, lines: SeenLines) -> None:
    """`rename_analyst` of what holds in one of these lines alone."""
    for held in of_lines(connection, lines):
        if (held.kind, held.name) == ("analyst", analyst):
            remove(connection, "analyst", analyst, held.model)
            if not find(connection, "analyst", pseudonym, held.model):
                add(connection, Quarantine("analyst", pseudonym, held.at, held.actor, "", held.model))


def extend_to(connection: sa.Connection, analyst: str, pseudonym: str) -> None:
    """Who is erased in some lines stays in quarantine there too, without the reason."""
    found = find(connection, "analyst", analyst, None)
    if found and not find(connection, "analyst", pseudonym, None):
        add(connection, Quarantine("analyst", pseudonym, found.at, found.actor, ""))


def is_silenced(
    model: sa.ColumnElement[str], analyst: sa.ColumnElement[str], key: sa.ColumnElement[str]
) -> sa.ColumnElement[bool]:
    """`Silenced.covers` in SQL, for columns of a query."""
    mute, own = quarantined.alias(), in_lines.alias()
    everywhere = sa.exists().where(_names(mute, analyst, key))
    return sa.or_(everywhere, sa.exists().where(own.c.model == model, _names(own, analyst, key)))


def _names(
    mute: sa.FromClause, analyst: sa.ColumnElement[str], key: sa.ColumnElement[str]
) -> sa.ColumnElement[bool]:
    return sa.or_(
        sa.and_(mute.c.kind == "analyst", mute.c.name == analyst),
        sa.and_(mute.c.kind == "key", mute.c.name == key),
    )


def _where(kind: LabellerKind, name: str, model: str | None) -> tuple[sa.Table, sa.ColumnElement[bool]]:
    """The table that holds a quarantine, and its row."""
    table = quarantined if model is None else in_lines
    same = sa.and_(table.c.kind == kind, table.c.name == name)
    return table, same if model is None else sa.and_(same, table.c.model == model)

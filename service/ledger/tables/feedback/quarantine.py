"""Labellers in quarantine: what they say is stored, and does not count. The trail tells how it came to be."""

from typing import Literal

import sqlalchemy as sa
from msgspec import Struct

from nearnorm.service.ledger.database import Milliseconds, metadata

quarantined = sa.Table(
    "quarantined",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("at", Milliseconds, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
)

LabellerKind = Literal["analyst", "key"]
"""A label's `analyst` is what its sender says; its `key` is the API key that brought it, which we checked."""


class Quarantine(Struct, frozen=True):
    kind: LabellerKind
    name: str
    at: int
    actor: str
    why: str


class Silenced(Struct, frozen=True):
    """Whose statements do not count."""

    analysts: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()

    def covers(self, analyst: str, key: str) -> bool:
        return analyst in self.analysts or key in self.keys


def every(connection: sa.Connection) -> list[Quarantine]:
    """All that are in force, oldest first."""
    rows = connection.execute(sa.select(quarantined).order_by(quarantined.c.at, quarantined.c.name))
    return [Quarantine(**row._mapping) for row in rows]


def silenced(connection: sa.Connection) -> Silenced:
    in_force = every(connection)
    return Silenced(
        frozenset(q.name for q in in_force if q.kind == "analyst"),
        frozenset(q.name for q in in_force if q.kind == "key"),
    )


def add(connection: sa.Connection, new: Quarantine) -> None:
    row = {"kind": new.kind, "name": new.name, "at": new.at, "actor": new.actor, "why": new.why}
    connection.execute(sa.insert(quarantined), [row])


def remove(connection: sa.Connection, kind: LabellerKind, name: str) -> bool:
    """False where nobody of that name is in quarantine."""
    return bool(connection.execute(sa.delete(quarantined).where(_is(kind, name))).rowcount)


def rename_analyst(connection: sa.Connection, analyst: str, pseudonym: str) -> None:
    """Who is erased while in quarantine stays in it; the reason, which may name them, goes.

    A second spelling of their name, of older releases, is in it by the first.
    """
    if connection.execute(sa.select(quarantined.c.at).where(_is("analyst", pseudonym))).first():
        remove(connection, "analyst", analyst)
        return
    values = {"name": pseudonym, "why": ""}
    connection.execute(sa.update(quarantined).where(_is("analyst", analyst)).values(values))


def extend_to(connection: sa.Connection, analyst: str, pseudonym: str) -> None:
    """Who is erased in some lines stays in quarantine there too, without the reason."""
    found = [one for one in every(connection) if (one.kind, one.name) == ("analyst", analyst)]
    known = [one for one in every(connection) if (one.kind, one.name) == ("analyst", pseudonym)]
    if found and not known:
        add(connection, Quarantine("analyst", pseudonym, found[0].at, found[0].actor, ""))


def is_silenced(analyst: sa.ColumnElement[str], key: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """`Silenced.covers` in SQL, for two columns of a query."""
    mute = quarantined.alias()
    named = sa.or_(
        sa.and_(mute.c.kind == "analyst", mute.c.name == analyst),
        sa.and_(mute.c.kind == "key", mute.c.name == key),
    )
    return sa.exists().where(named)


def _is(kind: LabellerKind, name: str) -> sa.ColumnElement[bool]:
    return sa.and_(quarantined.c.kind == kind, quarantined.c.name == name)

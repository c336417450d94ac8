"""Claims: who reviews which record now. A lease for an analyst, so that no two get the same record.

One row a record, whatever event or label stands for it. Whoever changes rows holds the clock's lock first:
of two who ask at once the second sees what the first was given, and nobody deadlocks.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict

from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.database import Milliseconds, insert, metadata
from nearnorm.service.ledger.seen_lines import EVERY_LINE, SeenLines

LONGEST_MS = 3600 * 1000

claims = sa.Table(
    "claims",
    metadata,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("event_id", sa.Text, nullable=False),  # as it was handed out
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),  # the API key that asked
    sa.Column("analyst", sa.Text, nullable=False),
    sa.Column("until", Milliseconds, nullable=False),
    sa.Column("turn", sa.BigInteger, nullable=False),  # the clock's number when it was handed out
    sa.Column("place", sa.Integer, nullable=False),  # among those of its turn
    sa.Index("claims_by_holder", "actor", "model", "analyst"),
)


class Holder(Struct, frozen=True):
    """An analyst who asks by an API key: another key's analyst of the same name is somebody else."""

    actor: str
    analyst: str


class Claim(Struct, frozen=True):
    """One row."""

    model: str
    digest: str
    event_id: str
    why: str
    actor: str
    analyst: str
    until: int
    turn: int
    place: int


def lock(connection: sa.Connection) -> int:
    """The number of this turn. Nobody else claims or gives back until this transaction ends."""
    return tick(connection, "claims")


def is_free(model: str, digest: sa.ColumnElement[str], now: int) -> sa.ColumnElement[bool]:
    """Of a row with a digest: whether nobody holds its record."""
    return ~sa.exists().where(claims.c.model == model, claims.c.digest == digest, _alive(now))


def is_free_for(
    model: str, digest: sa.ColumnElement[str], holder: Holder, now: int
) -> sa.ColumnElement[bool]:
    """Of a row with a digest: whether nobody else holds its record."""
    return ~sa.exists().where(claims.c.digest == digest, _of_others(model, holder, now))


def held(connection: sa.Connection, model: str, holder: Holder, now: int) -> list[Claim]:
    """In the order in which they were handed out."""
    return _in_order(connection, _of(model, holder), _alive(now))


def page(
    connection: sa.Connection, model: str, holder: Holder | None, now: int, limit: int, after: tuple[int, int]
) -> list[Claim]:
    """Those behind the turn and place `after`, of one holder or of all (None)."""
    whose = claims.c.model == model if holder is None else _of(model, holder)
    behind = sa.tuple_(claims.c.turn, claims.c.place) > sa.tuple_(*map(sa.literal, after))
    return _in_order(connection, whose, _alive(now), behind, limit=limit)


def count_of_key(connection: sa.Connection, actor: str, now: int) -> int:
    """How many records an API key's analysts hold, of all models."""
    return _count(connection, claims.c.actor == actor, _alive(now))


def count_of_kind(connection: sa.Connection, model: str, why: str, now: int) -> int:
    return _count(connection, claims.c.model == model, claims.c.why == why, _alive(now))


def take(connection: sa.Connection, wanted: Sequence[Claim], now: int) -> set[str]:
    """Claim records that nobody holds, each once; the digests of those that were given."""
    if not wanted:
        return set()
    fresh = insert(connection, claims)
    newer = {column.name: fresh.excluded[column.name] for column in claims.c}
    taken = fresh.on_conflict_do_update(index_elements=["model", "digest"], set_=newer, where=~_alive(now))
    return set(connection.scalars(taken.returning(claims.c.digest), [asdict(claim) for claim in wanted]))


def renew(connection: sa.Connection, model: str, holder: Holder, until: int) -> None:
    connection.execute(sa.update(claims).where(_of(model, holder)).values(until=until))


def give_back(
    connection: sa.Connection,
    model: str,
    holder: Holder,
    event_ids: Sequence[str] | None,
    until: int | None = None,
) -> int:
    """Those events of the holder's, or all (None); of them what is held until then (ms) at most, if that is
    given. Answers how many."""
    theirs = _of(model, holder)
    if until is not None:
        theirs = sa.and_(theirs, claims.c.until <= until)
    if event_ids is not None:
        theirs = sa.and_(theirs, claims.c.event_id.in_(event_ids))
    return connection.execute(sa.delete(claims).where(theirs)).rowcount


def end(connection: sa.Connection, model: str, digests: Sequence[str]) -> None:
    """Whoever holds these records holds them no more: something was said about them."""
    _remove(connection, sa.and_(claims.c.model == model, claims.c.digest.in_(digests)))


def end_of(connection: sa.Connection, holder: Holder) -> None:
    """The holder holds nothing more, of whatever model."""
    _remove(connection, sa.and_(claims.c.actor == holder.actor, claims.c.analyst == holder.analyst))


def end_own(connection: sa.Connection, model: str, digest: str, holder: Holder) -> None:
    """The holder does not hold this record any more."""
    _remove(connection, sa.and_(_of(model, holder), claims.c.digest == digest))


def held_by_others(
    connection: sa.Connection, model: str, digests: Sequence[str], holder: Holder, now: int
) -> set[str]:
    """Those of the records that somebody else holds."""
    query = sa.select(claims.c.digest).where(claims.c.digest.in_(digests), _of_others(model, holder, now))
    return set(connection.scalars(query))


def erase_equal(connection: sa.Connection, digests: Sequence[str], lines: SeenLines = EVERY_LINE) -> None:
    """Forget records, of these lines."""
    _remove(connection, sa.and_(claims.c.digest.in_(digests), lines.where(claims.c.model)))


def erase_event(connection: sa.Connection, event_id: str, lines: SeenLines = EVERY_LINE) -> None:
    _remove(connection, sa.and_(claims.c.event_id == event_id, lines.where(claims.c.model)))


def erase_analyst(connection: sa.Connection, analyst: str, lines: SeenLines = EVERY_LINE) -> None:
    """What they hold is free for others, and their name is gone."""
    _remove(connection, sa.and_(claims.c.analyst == analyst, lines.where(claims.c.model)))


def prune(connection: sa.Connection, now: int) -> None:
    """Delete what has expired."""
    _remove(connection, ~_alive(now))


def _remove(connection: sa.Connection, which: sa.ColumnElement[bool]) -> None:
    """Without the lock where there is nothing: nearly always, for who labels."""
    if connection.execute(sa.select(sa.exists().where(which))).scalar():
        lock(connection)
        connection.execute(sa.delete(claims).where(which))


def _in_order(
    connection: sa.Connection, *which: sa.ColumnElement[bool], limit: int | None = None
) -> list[Claim]:
    query = sa.select(claims).where(*which).order_by(claims.c.turn, claims.c.place).limit(limit)
    return [Claim(**row._mapping) for row in connection.execute(query)]


def _count(connection: sa.Connection, *which: sa.ColumnElement[bool]) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(claims).where(*which)).scalar_one())


def _of(model: str, holder: Holder) -> sa.ColumnElement[bool]:
    same = (claims.c.model == model, claims.c.actor == holder.actor, claims.c.analyst == holder.analyst)
    return sa.and_(*same)


def _of_others(model: str, holder: Holder, now: int) -> sa.ColumnElement[bool]:
    theirs = sa.or_(claims.c.actor != holder.actor, claims.c.analyst != holder.analyst)
    return sa.and_(claims.c.model == model, _alive(now), theirs)


def _alive(now: int) -> sa.ColumnElement[bool]:
    """A lease that reaches further than any may was given by a clock that was put back since."""
    return claims.c.until.between(now + 1, now + LONGEST_MS)

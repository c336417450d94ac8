"""Sessions: who is signed in, by the digest of a secret that only his browser has."""

from collections.abc import Sequence

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict

from nearnorm.service.ledger.clock import clock, tick
from nearnorm.service.ledger.database import Milliseconds, metadata

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("key_id", sa.Text),  # NULL: signed in by a name alone, where no key is needed
    sa.Column("analyst", sa.Text, nullable=False),
    sa.Column("at", Milliseconds, nullable=False),
    sa.Column("until", Milliseconds, nullable=False),
)


class Session(Struct, frozen=True):
    digest: str
    key_id: str | None
    analyst: str
    at: int
    until: int


def revision(connection: sa.Connection) -> int:
    """Another number after every change but the end of a session's time."""
    query = sa.select(clock.c.value).where(clock.c.name == "sessions")
    return int(connection.execute(query).scalar() or 0)


def alive(connection: sa.Connection, now: int) -> list[Session]:
    """All whose time is not over."""
    rows = connection.execute(sa.select(sessions).where(sessions.c.until > now))
    return [Session(**row._mapping) for row in rows]


def add(connection: sa.Connection, session: Session, most: int) -> None:
    """Of one key `most` sessions stay, the newest."""
    tick(connection, "sessions")
    connection.execute(sa.insert(sessions), [asdict(session)])
    same = sessions.c.key_id.is_not_distinct_from(session.key_id)
    newest = sa.select(sessions.c.digest).where(same)
    newest = newest.order_by((sessions.c.digest == session.digest).desc(), sessions.c.at.desc()).limit(most)
    connection.execute(sa.delete(sessions).where(same, sessions.c.digest.not_in(newest)))


def end(connection: sa.Connection, digest: str) -> Session | None:
    """The session that there was."""
    gone = sa.delete(sessions).where(sessions.c.digest == digest).returning(*sessions.c)
    row = connection.execute(gone).one_or_none()
    if row is None:
        return None
    tick(connection, "sessions")
    return Session(**row._mapping)


def is_signed_in(connection: sa.Connection, key_id: str | None, analyst: str, now: int) -> bool:
    """Whether an analyst has a session by this key."""
    same = sessions.c.key_id.is_not_distinct_from(key_id)
    query = sa.select(sessions.c.digest).where(same, sessions.c.analyst == analyst, sessions.c.until > now)
    return connection.execute(query.limit(1)).first() is not None


def end_of_key(connection: sa.Connection, key_id: str) -> None:
    _remove(connection, sessions.c.key_id == key_id)


def erase_analyst(connection: sa.Connection, analyst: str, key_ids: Sequence[str] | None = None) -> None:
    """They are signed in nowhere any more, by these keys (None: by any), and their name is gone."""
    theirs = sessions.c.analyst == analyst
    _remove(connection, theirs if key_ids is None else theirs & sessions.c.key_id.in_(key_ids))


def prune(connection: sa.Connection, now: int) -> None:
    """Delete those whose time is over."""
    connection.execute(sa.delete(sessions).where(sessions.c.until <= now))


def _remove(connection: sa.Connection, which: sa.ColumnElement[bool]) -> None:
    if connection.execute(sa.delete(sessions).where(which)).rowcount:
        tick(connection, "sessions")

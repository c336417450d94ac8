"""API keys, by the digest of their secret: whoever reads the database still holds no key."""

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict

from nearnorm.service.ledger.database import Milliseconds, metadata
from nearnorm.service.ledger.quota import Quota
from nearnorm.service.ledger.seen_lines import EVERY_LINE, SeenLines

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("key_id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False, unique=True),
    sa.Column("roles", sa.Text, nullable=False),  # sorted, separated by commas
    sa.Column("at", Milliseconds, nullable=False),
    sa.Column("revoked_at", Milliseconds),
    sa.Column("rows_per_second", sa.BigInteger),
    sa.Column("requests_per_second", sa.BigInteger),
    sa.Column("rows_per_request", sa.BigInteger),
    sa.Column("bytes_per_request", sa.BigInteger),
    sa.Column("lines", sa.Text),  # names and beginnings, separated by commas; null: every line
)


class Key(Struct, frozen=True):
    key_id: str
    name: str
    digest: str
    roles: frozenset[str]
    at: int
    revoked_at: int | None
    quota: Quota
    lines: SeenLines = EVERY_LINE


def add(connection: sa.Connection, key: Key) -> None:
    row = {
        "key_id": key.key_id,
        "name": key.name,
        "digest": key.digest,
        "roles": ",".join(sorted(key.roles)),
        "at": key.at,
        "lines": key.lines.cell,
        **asdict(key.quota),
    }
    connection.execute(sa.insert(keys), [row])


def every(connection: sa.Connection) -> list[Key]:
    """All keys ever made, oldest first."""
    rows = connection.execute(sa.select(keys).order_by(keys.c.at, keys.c.key_id))
    return [
        Key(
            r.key_id,
            r.name,
            r.digest,
            frozenset(r.roles.split(",")),
            r.at,
            r.revoked_at,
            Quota(r.rows_per_second, r.requests_per_second, r.rows_per_request, r.bytes_per_request),
            SeenLines.stored(r.lines),
        )
        for r in rows
    ]


def within(connection: sa.Connection, lines: SeenLines) -> list[Key]:
    """Keys, revoked ones too, that see nothing but these lines."""
    return [key for key in every(connection) if lines.covers(key.lines)]


def ids_within(connection: sa.Connection, lines: SeenLines) -> list[str] | None:
    """Of those the ids; None: of all, and of who came without one."""
    return None if lines.is_every else [key.key_id for key in within(connection, lines)]


def revoke(connection: sa.Connection, key_id: str, at: int) -> bool:
    """False where no such key is active."""
    active = sa.and_(keys.c.key_id == key_id, keys.c.revoked_at.is_(None))
    return connection.execute(sa.update(keys).where(active).values(revoked_at=at)).rowcount == 1


def limit(connection: sa.Connection, key_id: str, quota: Quota) -> None:
    connection.execute(sa.update(keys).where(keys.c.key_id == key_id).values(**asdict(quota)))

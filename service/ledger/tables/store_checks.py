"""The checks of model stores: when each was begun and ended last, and what was found. One row a store."""

import json

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from nearnorm.service.ledger.database import Milliseconds, insert, metadata

store_checks = sa.Table(
    "store_checks",
    metadata,
    sa.Column("store", sa.Text, primary_key=True),  # its folder or URL
    sa.Column("begun", Milliseconds, nullable=False),
    sa.Column("ended", Milliseconds, nullable=False),  # of the last whole one; 0: there was none
    sa.Column("versions", sa.Integer, nullable=False),
    sa.Column("problems", sa.Text, nullable=False),  # JSON: a sentence by version
)


class StoreCheck(Struct, frozen=True):
    """One row; times are in milliseconds since 1970. What was found is the last whole check's: of so many
    `versions`, and `problems` has a sentence by version."""

    store: str
    begun: int
    ended: int = 0
    versions: int = 0
    problems: dict[str, str] = {}


def find(connection: sa.Connection, store: str) -> StoreCheck | None:
    row = connection.execute(sa.select(store_checks).where(store_checks.c.store == store)).one_or_none()
    return None if row is None else StoreCheck(**{**row._mapping, "problems": json.loads(row.problems)})


def begin(connection: sa.Connection, store: str, seen: StoreCheck | None, now: int) -> bool:
    """Whether it is this caller's to check the store now: nobody has begun since it was `seen`."""
    if seen is None:
        fresh = insert(connection, store_checks).values(
            store=store, begun=now, ended=0, versions=0, problems="{}"
        )
        return (
            connection.execute(fresh.on_conflict_do_nothing().returning(store_checks.c.store)).first()
            is not None
        )
    same = sa.and_(store_checks.c.store == store, store_checks.c.begun == seen.begun)
    return bool(connection.execute(sa.update(store_checks).where(same).values(begun=now)).rowcount)


def put(connection: sa.Connection, check: StoreCheck) -> None:
    """What a whole check has found, in the place of the one before."""
    row = msgspec.structs.asdict(check) | {"problems": json.dumps(check.problems)}
    fresh = insert(connection, store_checks).values(row)
    connection.execute(fresh.on_conflict_do_update(index_elements=["store"], set_=row))

"""Requests that were answered, by their Idempotency-Key, so that one sent twice counts once."""

import json
from typing import Any

import sqlalchemy as sa
from msgspec import Struct

from nearnorm.service.ledger.database import Milliseconds, metadata

requests = sa.Table(
    "requests",
    metadata,
    sa.Column("actor", sa.Text, primary_key=True),  # keys of one client say nothing about another's
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),  # its digest
    sa.Column("answer", sa.Text, nullable=False),  # JSON
    sa.Column("at", Milliseconds, nullable=False),
    sa.Index("requests_by_age", "at"),
)


class Answered(Struct, frozen=True):
    body: str
    answer: dict[str, Any]


def find(connection: sa.Connection, actor: str, key: str) -> Answered | None:
    query = sa.select(requests.c.body, requests.c.answer).where(
        requests.c.actor == actor, requests.c.key == key
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else Answered(row.body, json.loads(row.answer))


def remember(
    connection: sa.Connection, actor: str, key: str, body: str, answer: dict[str, Any], at: int
) -> None:
    row = {"actor": actor, "key": key, "body": body, "answer": json.dumps(answer), "at": at}
    connection.execute(sa.insert(requests), [row])


def prune(connection: sa.Connection, before_ms: int) -> None:
    connection.execute(sa.delete(requests).where(requests.c.at < before_ms))

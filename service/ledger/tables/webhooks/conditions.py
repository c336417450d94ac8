"""Conditions that last (a drift, a parted budget), which processes see for themselves: they begin with the
first that sees one, and end with the last, or when nobody has seen it for LASTS_MS."""

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from msgspec import Struct

from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.database import Milliseconds, insert, metadata
from nearnorm.service.ledger.tables.webhooks import outbox
from nearnorm.service.ledger.tables.webhooks.subscriptions import Kind

LASTS_MS = 600_000
"""A process that was started again sees a drift only after a thousand rows."""

conditions = sa.Table(
    "webhook_conditions",
    metadata,
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, primary_key=True),  # a process
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("until", Milliseconds, nullable=False),
    sa.Column("body", sa.Text, nullable=False),  # JSON: what was told when it began
)


class Condition(Struct, frozen=True):
    kind: Kind
    subject: str
    body: dict[str, Any]


def see(connection: sa.Connection, holder: str, seen: Mapping[str, Condition], now: int) -> None:
    """Note what a process sees, by subject, and let webhooks be told what began and what ended by that."""
    tick(connection, "webhooks")
    rows = connection.execute(sa.select(conditions)).all()
    before = {row.subject: row for row in rows}
    connection.execute(
        sa.delete(conditions).where(sa.or_(conditions.c.holder == holder, conditions.c.until < now))
    )
    held = [
        {
            "subject": one.subject,
            "holder": holder,
            "kind": one.kind,
            "until": now + LASTS_MS,
            "body": json.dumps(one.body),
        }
        for one in seen.values()
    ]
    if held:
        connection.execute(insert(connection, conditions), held)
    after = set(connection.scalars(sa.select(conditions.c.subject)))
    for subject, condition in seen.items():
        if subject not in before:
            outbox.announce(connection, condition.kind, "began", subject, condition.body)
    for subject, row in before.items():
        if subject not in after:
            outbox.announce(connection, row.kind, "ended", subject, json.loads(row.body))

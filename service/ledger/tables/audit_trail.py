"""The audit trail: who labelled, activated, changed the policy, made or revoked keys, signed in, erased."""

import json
from typing import Any

import sqlalchemy as sa

from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.database import Milliseconds, Number, metadata
from nearnorm.service.ledger.seen_lines import SeenLines
from nearnorm.service.ledger.tables import keys

trail = sa.Table(
    "audit",
    metadata,
    sa.Column("number", Number, primary_key=True, autoincrement=True),
    sa.Column("at", Milliseconds, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),  # an API key's name, or who ran the command
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),  # JSON
    sqlite_autoincrement=True,
)

QUARANTINE = ("quarantine", "quarantine.release")
SESSION = ("session.begin", "session.end")
TAKEN_BACK = "claims.release"
_OF_LINES = (  # their subject is a model's name
    "activate",
    "activate.failed",
    "label",
    "labels.left_out",
    "line.change",
    "line.create",
    "line.limit",
    "line.priority",
    "policy.put",
    "policy.undo",
    "retrain",
    "retrain.cancel",
    "rollback",
    "rollback.failed",
    "second_opinion.burst",
)
_OF_ANALYSTS = (*QUARANTINE, *SESSION, TAKEN_BACK)


def note(connection: sa.Connection, actor: str, action: str, subject: str, **detail: object) -> None:
    """Add an entry; it commits together with what it tells of."""
    entry = {
        "at": now_ms(),
        "actor": actor,
        "action": action,
        "subject": subject,
        "detail": json.dumps(detail),
    }
    connection.execute(sa.insert(trail), [entry])


def note_failure(
    connection: sa.Connection, actor: str, action: str, subject: str, version: str, reason: str
) -> None:
    """Add that what was noted before it happened did not happen after all."""
    note(connection, actor, f"{action}.failed", subject, version=version, reason=reason)


def page(connection: sa.Connection, limit: int, before: int | None, lines: SeenLines) -> list[dict[str, Any]]:
    """Entries, newest first, from the one before number `before`.

    Who does not see every line: what was done to those that he sees, and what keys did that see no other.
    """
    query = sa.select(trail).order_by(trail.c.number.desc()).limit(limit)
    if not lines.is_every:
        own = [key.name for key in keys.within(connection, lines)]
        of_lines = sa.and_(trail.c.action.in_(_OF_LINES), lines.where(trail.c.subject))
        query = query.where(sa.or_(of_lines, trail.c.actor.in_(own)))
    if before is not None:
        query = query.where(trail.c.number < before)
    rows = [dict(row._mapping) for row in connection.execute(query)]
    return [{**row, "detail": json.loads(row["detail"])} for row in rows]


def rename_analyst(connection: sa.Connection, analyst: str, pseudonym: str, lines: SeenLines) -> None:
    """That somebody was put in quarantine, or signed in, stays; who, and why, is not told any more.

    Who does not see every line: of what keys did that see no other.
    """
    about_them = sa.and_(trail.c.action.in_(_OF_ANALYSTS), trail.c.subject == f"analyst {analyst}")
    if not lines.is_every:
        about_them &= trail.c.actor.in_([key.name for key in keys.within(connection, lines)])
    values = {"subject": f"analyst {pseudonym}", "detail": "{}"}
    connection.execute(sa.update(trail).where(about_them).values(values))

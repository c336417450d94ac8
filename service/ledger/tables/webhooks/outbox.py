"""The outbox: what webhooks are to be told, written in the transaction of what it tells of.

So nothing is told that did not happen, and nothing that happened is left untold, whoever is killed. Of a
subject a later message waits until the earlier one was delivered, or is given up (dead). A process that
delivers holds a message by a lease, taken by compare-and-set: in the ordinary case nobody else sends it too.
No message holds a record, or the caller's own id of one: they are read from the events when it is sent.
"""

import json
from collections.abc import Sequence
from typing import Any, Literal

import sqlalchemy as sa
from msgspec import Struct

from nearnorm.service.ids import new_id, now_ms
from nearnorm.service.ledger.database import Milliseconds, Number, metadata, partial_index
from nearnorm.service.ledger.seen_lines import SeenLines
from nearnorm.service.ledger.tables.webhooks import subscriptions
from nearnorm.service.ledger.tables.webhooks.subscriptions import Kind, Webhook

State = Literal["waiting", "delivered", "dead"]
LEASE_MS = 60_000
MOST_WAITING = 1_000
"""Messages that may wait for one webhook."""
MOST_ALERTS_WAITING = 900
"""Of these such that tell of alerts: a flood leaves room for the rest."""
MOST_DELIVERED = 1_000
"""Messages of one webhook that were delivered and can still be looked at."""

messages = sa.Table(
    "webhook_messages",
    metadata,
    sa.Column("number", Number, primary_key=True, autoincrement=True),
    sa.Column("message_id", sa.Text, nullable=False, unique=True),
    sa.Column("webhook_id", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("event", sa.Text, nullable=False),  # what became of the subject: raised, queued, began, ...
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("at", Milliseconds, nullable=False),
    sa.Column("since", Milliseconds, nullable=False),  # it is tried for a day from then
    sa.Column("body", sa.Text, nullable=False),  # JSON
    sa.Column("parts", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("due_at", Milliseconds, nullable=False),
    sa.Column("lease", Milliseconds),
    sa.Column("ended_at", Milliseconds),
    sa.Column("status", sa.Integer),  # of the last answer
    sa.Column("problem", sa.Text),  # of the last attempt
    partial_index(
        "webhook_messages_waiting",
        "webhook_id",
        "subject",
        "number",
        sqlite="state = 'waiting'",
        postgresql="state = 'waiting'",
    ),
    sa.Index("webhook_messages_by_state", "webhook_id", "state", "number"),
    sqlite_autoincrement=True,
)


class Message(Struct, frozen=True):
    """One row. `message_id` is the same in every attempt. `parts`: how many alerts it tells of, or 1."""

    number: int
    message_id: str
    webhook_id: str
    kind: Kind
    event: str
    subject: str
    at: int
    since: int
    body: dict[str, Any]
    parts: int = 1
    state: State = "waiting"
    attempts: int = 0
    due_at: int = 0
    lease: int | None = None
    ended_at: int | None = None
    status: int | None = None
    problem: str | None = None


def announce(connection: sa.Connection, kind: Kind, event: str, subject: str, body: dict[str, Any]) -> None:
    """Let every webhook that wants this kind, and sees the body's model, be told once this transaction
    commits.

    What is of no model is for those that see every one.
    """
    model = body.get("model")
    for webhook in subscriptions.wanting(connection, kind):
        if not (webhook.lines.is_every if model is None else webhook.lines.sees(model)):
            continue
        if count_waiting(connection, webhook.webhook_id) >= MOST_WAITING:
            subscriptions.count_dropped(connection, webhook.webhook_id, 1)
        else:
            put(connection, webhook, kind, event, subject, body)


def put(
    connection: sa.Connection,
    webhook: Webhook,
    kind: Kind,
    event: str,
    subject: str,
    body: dict[str, Any],
    parts: int = 1,
    due_at: int = 0,
) -> None:
    now = now_ms()
    row = {
        "message_id": f"msg_{new_id()}",
        "webhook_id": webhook.webhook_id,
        "kind": kind,
        "event": event,
        "subject": subject,
        "at": now,
        "since": now,
        "body": json.dumps(body),
        "parts": parts,
        "state": "waiting",
        "attempts": 0,
        "due_at": due_at,
    }
    connection.execute(sa.insert(messages), [row])


def count_waiting(connection: sa.Connection, webhook_id: str) -> int:
    waiting = sa.and_(messages.c.webhook_id == webhook_id, messages.c.state == "waiting")
    return int(connection.execute(sa.select(sa.func.count()).where(waiting)).scalar_one())


def open_message(connection: sa.Connection, webhook_id: str, subject: str, most: int) -> Message | None:
    """The newest of a subject, if nobody has begun to send it, and it has fewer than so many parts."""
    query = sa.select(messages).where(
        messages.c.webhook_id == webhook_id, messages.c.state == "waiting", messages.c.subject == subject
    )
    row = connection.execute(query.order_by(messages.c.number.desc()).limit(1)).one_or_none()
    found = None if row is None else _message(row)
    return found if found and not found.attempts and found.parts < most else None


def extend(
    connection: sa.Connection, message: Message, body: dict[str, Any], parts: int, due_at: int
) -> bool:
    """Put another body in the place of one that nobody has begun to send; False: somebody has."""
    same = sa.and_(messages.c.number == message.number, messages.c.attempts == 0)
    same = sa.and_(same, messages.c.parts == message.parts)
    values = {"body": json.dumps(body), "parts": parts, "due_at": due_at}
    return bool(connection.execute(sa.update(messages).where(same).values(values)).rowcount)


def due(connection: sa.Connection, now: int) -> list[Message]:
    """What can be sent now, the oldest first: of each webhook and subject at most the first that waits."""
    first = sa.func.min(messages.c.number)
    heads = sa.select(first).where(messages.c.state == "waiting")
    heads = heads.group_by(messages.c.webhook_id, messages.c.subject)
    ready = sa.and_(messages.c.number.in_(heads), messages.c.due_at <= now, ~_held(now))
    rows = connection.execute(sa.select(messages).where(ready).order_by(messages.c.number))
    return [_message(row) for row in rows]


def take(connection: sa.Connection, message: Message, now: int) -> Message | None:
    """Begin an attempt: the message as it is from here on; None: somebody else has begun one."""
    same = sa.and_(_attempt(message), ~_held(now))
    values = {"attempts": message.attempts + 1, "lease": now + LEASE_MS}
    taken = sa.update(messages).where(same).values(values).returning(*messages.c)
    row = connection.execute(taken).one_or_none()
    return None if row is None else _message(row)


def end(
    connection: sa.Connection,
    message: Message,
    state: Literal["delivered", "dead"],
    now: int,
    status: int | None,
    problem: str | None,
) -> None:
    """`message` is as it was taken; if somebody else has taken it since, this changes nothing. Of one that
    was delivered the body is not needed any more."""
    values = {"state": state, "ended_at": now, "lease": None, "status": status, "problem": problem}
    if state == "delivered":
        values["body"] = "{}"
    connection.execute(sa.update(messages).where(_attempt(message)).values(values))


def postpone(
    connection: sa.Connection, message: Message, due_at: int, status: int | None, problem: str | None
) -> None:
    """Let a message wait until then (ms) for its next attempt."""
    values = {"due_at": due_at, "lease": None, "status": status, "problem": problem}
    connection.execute(sa.update(messages).where(_attempt(message)).values(values))


def replay(connection: sa.Connection, webhook_id: str, message_ids: Sequence[str] | None, now: int) -> int:
    """Let dead messages wait again, for a day from now; None: all. Answers how many."""
    dead = sa.and_(messages.c.webhook_id == webhook_id, messages.c.state == "dead")
    if message_ids is not None:
        dead = sa.and_(dead, messages.c.message_id.in_(message_ids))
    values = {"state": "waiting", "since": now, "due_at": now, "attempts": 0, "ended_at": None, "lease": None}
    return connection.execute(sa.update(messages).where(dead).values(values)).rowcount


def page(
    connection: sa.Connection, webhook_id: str, state: State | None, limit: int, before: int | None
) -> list[Message]:
    """Newest first, from the one before number `before`."""
    query = sa.select(messages).where(messages.c.webhook_id == webhook_id)
    if state is not None:
        query = query.where(messages.c.state == state)
    if before is not None:
        query = query.where(messages.c.number < before)
    rows = connection.execute(query.order_by(messages.c.number.desc()).limit(limit))
    return [_message(row) for row in rows]


def counts(connection: sa.Connection) -> dict[tuple[str, State], int]:
    """How many messages of each webhook stand how."""
    query = sa.select(messages.c.webhook_id, messages.c.state, sa.func.count())
    rows = connection.execute(query.group_by(messages.c.webhook_id, messages.c.state))
    return {(webhook_id, state): int(count) for webhook_id, state, count in rows}


def prune(connection: sa.Connection, delivered_before: int, dead_before: int) -> None:
    """Delete what ended before (ms), and of each webhook's delivered ones all but the newest."""
    over = sa.or_(
        sa.and_(messages.c.state == "delivered", messages.c.ended_at < delivered_before),
        sa.and_(messages.c.state == "dead", messages.c.ended_at < dead_before),
    )
    connection.execute(sa.delete(messages).where(over))
    for webhook in subscriptions.every(connection):
        theirs = sa.and_(messages.c.webhook_id == webhook.webhook_id, messages.c.state == "delivered")
        newest = sa.select(messages.c.number).where(theirs).order_by(messages.c.number.desc())
        last = connection.execute(newest.offset(MOST_DELIVERED).limit(1)).scalar()
        if last is not None:
            connection.execute(sa.delete(messages).where(theirs, messages.c.number <= last))


def remove_of(connection: sa.Connection, webhook_id: str) -> int:
    """Delete all of a webhook; answers how many had not been delivered."""
    theirs = messages.c.webhook_id == webhook_id
    untold = sa.select(sa.func.count()).where(theirs, messages.c.state != "delivered")
    count = int(connection.execute(untold).scalar_one())
    connection.execute(sa.delete(messages).where(theirs))
    return count


def erase_answers(connection: sa.Connection, lines: SeenLines) -> None:
    """Forget what receivers answered to these lines' alerts: one may have repeated the record it was sent."""
    told = sa.and_(
        messages.c.kind == "alert",
        messages.c.problem.is_not(None),
        messages.c.webhook_id.in_(subscriptions.within(connection, lines)),
    )
    connection.execute(sa.update(messages).where(told).values(problem=None))


def erase_analyst(connection: sa.Connection, names: Sequence[str], pseudonym: str, lines: SeenLines) -> None:
    """That somebody was put in quarantine is told, and not any more who."""
    subjects = [f"quarantine:analyst {name}" for name in names]
    told = messages.c.webhook_id.in_(subscriptions.within(connection, lines))
    theirs = sa.select(messages).where(messages.c.subject.in_(subjects), told)
    for row in connection.execute(theirs).all():
        values = {
            "subject": f"quarantine:analyst {pseudonym}",
            "body": json.dumps(json.loads(row.body) | {"name": pseudonym}),
            "problem": None,
        }
        connection.execute(sa.update(messages).where(messages.c.number == row.number).values(values))


def _attempt(message: Message) -> sa.ColumnElement[bool]:
    """The message, if it still waits and nobody has tried it since."""
    return sa.and_(
        messages.c.number == message.number,
        messages.c.state == "waiting",
        messages.c.attempts == message.attempts,
    )


def _held(now: int) -> sa.ColumnElement[bool]:
    """A lease that reaches further than any may was given by a clock that was put back since."""
    return sa.func.coalesce(messages.c.lease, 0).between(now + 1, now + LEASE_MS)


def _message(row: sa.Row[Any]) -> Message:
    return Message(**(row._asdict() | {"body": json.loads(row.body)}))

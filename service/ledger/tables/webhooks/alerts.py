"""Alerts in the outbox: gathered for a second, a hundred a message at most, so that a flood stays bounded.

A message holds what the alerts came to: the records stay with the events, where they can be erased.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.tables.events.events import Row, events
from nearnorm.service.ledger.tables.webhooks import outbox, subscriptions
from nearnorm.service.ledger.tables.webhooks.subscriptions import Webhook

MOST_ALERTS = 100
"""In one message."""
GATHER_MS = 1_000
TOLD = ("event_id", "at", "model_version", "score", "percentile")

_PLACES = tuple(events.c.keys().index(name) for name in TOLD)
_MODEL, _ANOMALY, _SOURCE = (events.c.keys().index(name) for name in ("model", "anomaly", "source"))


def announce(connection: sa.Connection, rows: Sequence[Row]) -> None:
    """Let webhooks be told of the alerts among events that are about to be written."""
    wanting = subscriptions.wanting(connection, "alert")
    if not wanting:
        return
    alerts = _new(connection, [row for row in rows if row[_ANOMALY]])
    of_model: dict[str, list[list[Any]]] = defaultdict(list)
    for row in alerts:
        of_model[row[_MODEL]].append([row[place] for place in _PLACES])
    for model, told in of_model.items():
        for webhook in (one for one in wanting if one.lines.sees(model)):
            _gather(connection, webhook, model, told)


def _new(connection: sa.Connection, rows: list[Row]) -> list[Row]:
    """Those that are not in the ledger: a group is written again if nobody knows whether it was, and a
    message read again."""
    known = _known(connection, events.c.event_id, [row[0] for row in rows])
    sources = [row[_SOURCE] for row in rows if row[_SOURCE] is not None]
    again = _known(connection, events.c.source, sources)
    return [row for row in rows if row[0] not in known and row[_SOURCE] not in again]


def _known(connection: sa.Connection, column: sa.Column[str], names: list[str]) -> set[str]:
    known: set[str] = set()
    for start in range(0, len(names), 500):
        known |= set(connection.scalars(sa.select(column).where(column.in_(names[start : start + 500]))))
    return known


def _gather(connection: sa.Connection, webhook: Webhook, model: str, alerts: list[list[Any]]) -> None:
    """Into the message that is being filled, and new ones after it, as long as there is room."""
    subject, now = f"alert:{model}", now_ms()
    message = outbox.open_message(connection, webhook.webhook_id, subject, MOST_ALERTS)
    if message is not None:
        more = alerts[: MOST_ALERTS - message.parts]
        body = message.body | {"alerts": message.body["alerts"] + more}
        parts = message.parts + len(more)
        due_at = now if parts == MOST_ALERTS else message.due_at
        if outbox.extend(connection, message, body, parts, due_at):
            alerts = alerts[len(more) :]
    room = outbox.MOST_ALERTS_WAITING - outbox.count_waiting(connection, webhook.webhook_id)
    kept = alerts[: max(0, room) * MOST_ALERTS]
    lost = len(alerts) - len(kept)
    dropped = webhook.dropped + lost
    for start in range(0, len(kept), MOST_ALERTS):
        part = kept[start : start + MOST_ALERTS]
        body = {"model": model, "alerts": part} | ({"dropped": dropped} if dropped else {})
        due_at = now if len(part) == MOST_ALERTS else now + GATHER_MS
        outbox.put(connection, webhook, "alert", "raised", subject, body, len(part), due_at)
    if lost:
        subscriptions.count_dropped(connection, webhook.webhook_id, lost)

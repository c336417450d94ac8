"""What a message from the outbox tells: its alerts with what the ledger still has of their events."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from nearnorm.service.ids import iso
from nearnorm.service.ledger.tables.events import events
from nearnorm.service.ledger.tables.events.events import Event
from nearnorm.service.ledger.tables.webhooks.alerts import TOLD
from nearnorm.service.ledger.tables.webhooks.outbox import Message
from nearnorm.service.ledger.tables.webhooks.subscriptions import Webhook
from nearnorm.service.webhooks import links
from nearnorm.service.webhooks.shapes import pagerduty, slack, standard
from nearnorm.service.webhooks.told import Told

MOST_RECORD_BYTES = 16_384
"""A larger record is left out, and said to be."""
MOST_EXPLAINED = 10
"""Messages of more alerts are a flood's: reasons would cost what scores are needed for."""

EventsById = Mapping[str, Event]

Explain = Callable[[str, list[dict[str, Any]]], list[list[str]]]
"""The features that are a model's reasons for each record; none where they cannot be told now."""

_PAGES = {"alert": "/review", "job": "/loop", "model": "/loop", "drift": "/overview", "budget": "/budget"}


def read_events(connection: sa.Connection, message: Message) -> EventsById:
    """What is kept of the message's alerts: one that was erased, or pushed out, is not there."""
    if message.kind != "alert":
        return {}
    return events.of_ids(connection, [alert[0] for alert in message.body["alerts"]])


def tell(
    message: Message,
    webhook: Webhook,
    kept: EventsById,
    base_url: str | None,
    explain: Explain,
) -> Told:
    data = dict(message.body)
    if message.kind == "alert":
        data["alerts"] = _alerts(message, webhook, kept, base_url, explain)
    page = _PAGES.get(message.kind)
    return Told(
        message.message_id,
        message.kind,
        message.event,
        message.subject,
        iso(message.at),
        data,
        f"{base_url.rstrip('/')}{page}" if base_url and page else None,
    )


def encode(told: Told, webhook: Webhook) -> bytes:
    """The body in the webhook's format."""
    match webhook.format:
        case "slack":
            body = slack.shaped(told)
        case "pagerduty":
            body = pagerduty.shaped(told, webhook.routing_key or "")
        case "standard":
            body = standard.shaped(told)
    return msgspec.json.encode(body)


def _alerts(
    message: Message, webhook: Webhook, kept: EventsById, base_url: str | None, explain: Explain
) -> list[dict[str, Any]]:
    alerts: list[dict[str, Any]] = []
    for cells in message.body["alerts"]:
        alert = dict(zip(TOLD, cells, strict=True))
        alert["at"] = iso(alert["at"])
        event = kept.get(alert["event_id"])
        if event is not None:
            alert |= _of_event(event, webhook)
            if base_url and webhook.analyst is not None:
                alert["link"] = links.link(base_url, webhook, event.event_id, message.at)
        alerts.append(alert)
    if len(kept) <= MOST_EXPLAINED:
        _add_reasons(message.body["model"], alerts, kept, explain)
    return alerts


def _of_event(event: Event, webhook: Webhook) -> dict[str, Any]:
    found: dict[str, Any] = {} if event.record_id is None else {"id": event.record_id}
    if webhook.records:
        if len(msgspec.json.encode(event.record)) > MOST_RECORD_BYTES:
            return found | {"record_left_out": "it is larger than 16 KiB: GET /events/{event_id}"}
        found["record"] = event.record
    return found


def _add_reasons(model: str, alerts: list[dict[str, Any]], kept: EventsById, explain: Explain) -> None:
    there = [alert for alert in alerts if alert["event_id"] in kept]
    if there:
        found = explain(model, [kept[alert["event_id"]].record for alert in there])
        for alert, features in zip(there, found, strict=True):
            if features:
                alert["reasons"] = features

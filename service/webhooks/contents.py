"""What a message from the outbox tells: its alerts with what the ledger still has of their events."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec.structs import replace

from nearnorm.service.alerts.alert import Alert, plain
from nearnorm.service.ledger.tables.events import events
from nearnorm.service.ledger.tables.events.events import Event
from nearnorm.service.ledger.tables.webhooks.alerts import TOLD
from nearnorm.service.ledger.tables.webhooks.outbox import Message
from nearnorm.service.ledger.tables.webhooks.subscriptions import Webhook
from nearnorm.service.records.shapes import Reason
from nearnorm.service.webhooks import links
from nearnorm.service.webhooks.shapes import ocsf, pagerduty, slack, standard
from nearnorm.service.webhooks.told import Told

MOST_RECORD_BYTES = 16_384
"""A larger record is left out, and said to be."""
MOST_EXPLAINED = 10
"""Messages of more alerts are a flood's: reasons would cost what scores are needed for."""

EventsById = Mapping[str, Event]

Explain = Callable[[str, list[dict[str, Any]]], list[list[Reason]]]
"""A model's reasons for each record; none where they cannot be told now."""

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
    alerts: tuple[Alert, ...] = ()
    if message.kind == "alert":
        alerts = _alerts(message, webhook, kept, base_url, explain)
        data["alerts"] = [plain(alert) for alert in alerts]
    page = _PAGES.get(message.kind)
    return Told(
        message.message_id,
        message.kind,
        message.event,
        message.subject,
        message.at,
        data,
        f"{base_url.rstrip('/')}{page}" if base_url and page else None,
        alerts,
    )


def encode(told: Told, webhook: Webhook) -> bytes:
    """The body in the webhook's format."""
    body: dict[str, Any] | list[dict[str, Any]]
    match webhook.format:
        case "slack":
            body = slack.shaped(told)
        case "pagerduty":
            body = pagerduty.shaped(told, webhook.routing_key or "")
        case "ocsf":
            body = ocsf.shaped(told)
        case "standard":
            body = standard.shaped(told)
    return msgspec.json.encode(body)


def _alerts(
    message: Message, webhook: Webhook, kept: EventsById, base_url: str | None, explain: Explain
) -> tuple[Alert, ...]:
    model, reasons = message.body["model"], _reasons(message, kept, explain)
    alerts = []
    for cells in message.body["alerts"]:
        alert = Alert(model=model, **dict(zip(TOLD, cells, strict=True)))
        event = kept.get(alert.event_id)
        if event is not None:
            alert = _of_event(event, webhook, reasons.get(event.event_id, ()))
            if base_url and webhook.analyst is not None:
                alert = replace(alert, link=links.link(base_url, webhook, event.event_id, message.at))
        alerts.append(alert)
    return tuple(alerts)


def _of_event(event: Event, webhook: Webhook, reasons: Sequence[Reason]) -> Alert:
    alert = Alert.of(event, webhook.records, reasons)
    if webhook.records and len(msgspec.json.encode(event.record)) > MOST_RECORD_BYTES:
        said = "it is larger than 16 KiB: GET /events/{event_id}"
        return replace(alert, record=None, left_out=said)
    return alert


def _reasons(message: Message, kept: EventsById, explain: Explain) -> dict[str, list[Reason]]:
    """By the id of the event."""
    if not kept or len(kept) > MOST_EXPLAINED:
        return {}
    found = explain(message.body["model"], [event.record for event in kept.values()])
    return dict(zip(kept, found, strict=True))

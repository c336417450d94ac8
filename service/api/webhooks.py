"""Webhooks: made, listed, tried, their deliveries looked at and sent again, ended."""

import asyncio
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request
from msgspec import Meta
from pydantic import BaseModel

from nearnorm.service.access.keyring import Caller
from nearnorm.service.api.dependencies import body_of, described, needs, read, services_of
from nearnorm.service.ids import iso, now_ms
from nearnorm.service.ledger.tables import audit_trail as audit
from nearnorm.service.ledger.tables.webhooks import outbox, subscriptions
from nearnorm.service.ledger.tables.webhooks.outbox import Message, State
from nearnorm.service.ledger.tables.webhooks.subscriptions import Format, Kind, Webhook
from nearnorm.service.webhooks import subscription
from nearnorm.service.webhooks.subscription import WebhookRequest

router = APIRouter(prefix="/webhooks", tags=["webhooks"])


class ShownWebhook(BaseModel):
    """`models`: those that it is told of, where its key is bound to some. `waiting`, `dead`: messages that
    are to be sent, and that were given up. `dropped`: what its outbox had no room for, alerts one by one.
    `old_secret_until`: another secret signs too."""

    webhook_id: str
    url: str
    kinds: list[Kind]
    format: Format
    include_records: bool
    analyst: str | None = None
    description: str
    at: str
    by: str
    waiting: int
    dead: int
    dropped: int
    models: list[str] | None = None
    old_secret_until: str | None = None


class NewWebhook(ShownWebhook):
    """`secret` is shown this once."""

    secret: str


class Webhooks(BaseModel):
    """Oldest first: 50 at most."""

    webhooks: list[ShownWebhook]


class EndedWebhook(BaseModel):
    """`undelivered` messages went with it."""

    webhook_id: str
    undelivered: int


class NewSecret(BaseModel):
    """`secret` is shown this once; the one before it signs too until then."""

    webhook_id: str
    secret: str
    old_secret_until: str


class Delivery(BaseModel):
    """`message_id` is the `webhook-id` that the receiver sees. `parts`: how many alerts it tells of.
    `status` and `problem` are of the last attempt; `due_at`: when the next one is."""

    message_id: str
    type: str
    subject: str
    at: str
    parts: int
    state: State
    attempts: int
    due_at: str | None = None
    ended_at: str | None = None
    status: int | None = None
    problem: str | None = None


class DeliveryPage(BaseModel):
    """Newest first; `next` is the cursor of the page after this one."""

    deliveries: list[Delivery]
    next: str | None = None


class ReplayRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Without `message_ids`, all that are dead."""

    message_ids: (
        Annotated[list[Annotated[str, Meta(max_length=100, pattern=r"^[^\x00]*$")]], Meta(max_length=1_000)]
        | None
    ) = None


class Replayed(BaseModel):
    """How many messages will be sent again."""

    webhook_id: str
    replayed: int


class Tried(BaseModel):
    """Whether the receiver took a test message, and what it answered."""

    webhook_id: str
    delivered: bool
    status: int | None = None
    problem: str | None = None


@router.post("", status_code=201, response_model_exclude_none=True, openapi_extra=described(WebhookRequest))
async def post_webhook(request: Request, caller: Annotated[Caller, needs("operate")]) -> NewWebhook:
    """Have something told to an https address, or to a host that NEARNORM_WEBHOOK_HOSTS lists."""
    sent = read(await body_of(request), WebhookRequest)
    services = services_of(request)
    made = await services.ledger.written(lambda c: subscription.create(c, sent, caller, services.settings))
    return NewWebhook(**_shown(made, {}).model_dump(), secret=made.secret)


@router.get("", response_model_exclude_none=True)
async def list_webhooks(request: Request, caller: Annotated[Caller, needs("operate")]) -> Webhooks:
    """All webhooks of the caller's models, without their secrets."""
    found, counted = await services_of(request).ledger.seen(
        lambda c: (subscriptions.every(c), outbox.counts(c))
    )
    seen = (webhook for webhook in found if caller.lines.covers(webhook.lines))
    return Webhooks(webhooks=[_shown(webhook, counted) for webhook in seen])


@router.delete("/{webhook_id}")
async def delete_webhook(
    request: Request, webhook_id: str, caller: Annotated[Caller, needs("operate")]
) -> EndedWebhook:
    """End it: what waits is not sent any more, and the links of its messages lead nowhere."""
    untold = await services_of(request).ledger.written(lambda c: subscription.remove(c, webhook_id, caller))
    return EndedWebhook(webhook_id=webhook_id, undelivered=untold)


@router.get("/{webhook_id}/deliveries", response_model_exclude_none=True)
async def list_deliveries(
    request: Request,
    webhook_id: str,
    caller: Annotated[Caller, needs("operate")],
    state: State | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[int | None, Query(ge=1, le=2**53)] = None,
) -> DeliveryPage:
    """Its messages: those that wait, those delivered in the last day, and those that were given up."""
    found = await services_of(request).ledger.seen(
        lambda c: subscription.deliveries(c, webhook_id, caller.lines, state, limit + 1, cursor)
    )
    more = len(found) > limit
    return DeliveryPage(
        deliveries=[_delivery(message) for message in found[:limit]],
        next=str(found[limit - 1].number) if more else None,
    )


@router.post("/{webhook_id}/replay", openapi_extra=described(ReplayRequest))
async def post_replay(
    request: Request, webhook_id: str, caller: Annotated[Caller, needs("operate")]
) -> Replayed:
    """Send again what was given up, by the same `webhook-id`; for another day."""
    sent = read(await body_of(request), ReplayRequest)
    services = services_of(request)
    count = await services.ledger.written(
        lambda c: subscription.replay(c, webhook_id, sent.message_ids, caller)
    )
    await services.ledger.threaded(services.deliverer.tell_problems)
    return Replayed(webhook_id=webhook_id, replayed=count)


@router.post("/{webhook_id}/test", response_model_exclude_none=True)
async def post_test(request: Request, webhook_id: str, caller: Annotated[Caller, needs("operate")]) -> Tried:
    """Send a message of type `test.sent` now, once, and say what came of it."""
    services = services_of(request)
    webhook = await services.ledger.seen(lambda c: subscription.need(c, webhook_id, caller.lines))
    await services.ledger.written(lambda c: audit.note(c, caller.name, "webhook.test", webhook.webhook_id))
    attempt = await asyncio.to_thread(services.deliverer.try_now, webhook)
    return Tried(
        webhook_id=webhook.webhook_id,
        delivered=attempt.problem is None,
        status=attempt.status,
        problem=attempt.problem,
    )


@router.post("/{webhook_id}/secret")
async def post_secret(
    request: Request, webhook_id: str, caller: Annotated[Caller, needs("operate")]
) -> NewSecret:
    """A new secret; for a day the one before it signs too, so that the receiver can change over."""
    secret, until = await services_of(request).ledger.written(
        lambda c: subscription.renew_secret(c, webhook_id, caller)
    )
    return NewSecret(webhook_id=webhook_id, secret=secret, old_secret_until=iso(until))


def _shown(webhook: Webhook, counted: dict[tuple[str, State], int]) -> ShownWebhook:
    until = webhook.old_until
    return ShownWebhook(
        webhook_id=webhook.webhook_id,
        url=webhook.url,
        kinds=list(webhook.kinds),
        format=webhook.format,
        include_records=webhook.records,
        analyst=webhook.analyst,
        description=webhook.description,
        at=iso(webhook.at),
        by=webhook.actor,
        waiting=counted.get((webhook.webhook_id, "waiting"), 0),
        dead=counted.get((webhook.webhook_id, "dead"), 0),
        dropped=webhook.dropped,
        models=None if webhook.lines.patterns is None else list(webhook.lines.patterns),
        old_secret_until=iso(until) if until is not None and until > now_ms() else None,
    )


def _delivery(message: Message) -> Delivery:
    return Delivery(
        message_id=message.message_id,
        type=f"{message.kind}.{message.event}",
        subject=message.subject,
        at=iso(message.at),
        parts=message.parts,
        state=message.state,
        attempts=message.attempts,
        due_at=iso(max(message.due_at, message.at)) if message.state == "waiting" else None,
        ended_at=None if message.ended_at is None else iso(message.ended_at),
        status=message.status,
        problem=message.problem,
    )

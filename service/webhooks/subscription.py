"""Webhooks asked for, listed, ended: by POST /webhooks, and whoever else sets them up."""

from collections.abc import Collection
from typing import Annotated

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from nearnorm.service.access.analyst_name import normalised
from nearnorm.service.access.keyring import Caller
from nearnorm.service.errors import Conflict, Forbidden, InvalidRequest, NotFound
from nearnorm.service.ids import iso, new_id, now_ms
from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.seen_lines import SeenLines
from nearnorm.service.ledger.tables import audit_trail as audit
from nearnorm.service.ledger.tables.webhooks import outbox, subscriptions
from nearnorm.service.ledger.tables.webhooks.outbox import Message
from nearnorm.service.ledger.tables.webhooks.subscriptions import Format, Kind, Webhook
from nearnorm.service.settings import Settings, listed
from nearnorm.service.webhooks.destination import (
    LONGEST_URL,
    Destination,
    RefusedDestination,
    read_destination,
)
from nearnorm.service.webhooks.links import new_link_secret
from nearnorm.service.webhooks.signature import new_secret

MOST_WEBHOOKS = 50
OLD_SECRET_MS = 24 * 3600 * 1000

Text = Annotated[str, Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


class WebhookRequest(msgspec.Struct, forbid_unknown_fields=True):
    """`analyst`: its links store verdicts in this name. `routing_key` is PagerDuty's."""

    url: Annotated[str, Meta(min_length=1, max_length=LONGEST_URL)]
    kinds: Annotated[list[Kind], Meta(min_length=1)]
    format: Format = "standard"
    include_records: bool = False
    analyst: Text | None = None
    routing_key: Annotated[str, Meta(pattern=r"^[A-Za-z0-9]{32}$")] | None = None
    description: Text = ""


def listed_hosts(settings: Settings) -> frozenset[str]:
    return frozenset(host.lower() for host in listed(settings.webhook_hosts))


def destination_of(url: str, hosts: Collection[str]) -> Destination:
    """Raises InvalidRequest."""
    try:
        return read_destination(url, hosts)
    except RefusedDestination as error:
        raise InvalidRequest(f"url: {error}", field="url") from None


def create(connection: sa.Connection, sent: WebhookRequest, caller: Caller, settings: Settings) -> Webhook:
    """A new webhook, with its secret. Raises InvalidRequest, Forbidden, Conflict."""
    where = destination_of(sent.url, listed_hosts(settings))
    if (sent.format == "pagerduty") != (sent.routing_key is not None):
        raise InvalidRequest(
            "routing_key: PagerDuty's format needs one, and no other has one", field="routing_key"
        )
    if sent.format == "ocsf" and set(sent.kinds) != {"alert"}:
        raise InvalidRequest(
            'kinds: OCSF\'s format tells of alerts alone, so send ["alert"]; other kinds need a webhook of '
            "another format",
            field="kinds",
        )
    tick(connection, "webhooks")
    others = [one for one in subscriptions.every(connection) if caller.lines.covers(one.lines)]
    if len(others) >= MOST_WEBHOOKS:
        raise Conflict(f"there are {MOST_WEBHOOKS} webhooks, which is the most: delete one")
    if any(one.url == sent.url and one.format == sent.format for one in others):
        raise Conflict("there is a webhook to this url in this format: delete that one first", field="url")
    new = Webhook(
        webhook_id=new_id(),
        url=sent.url,
        kinds=tuple(dict.fromkeys(sent.kinds)),
        format=sent.format,
        records=sent.include_records,
        analyst=_linked(sent.analyst, caller, settings),
        routing_key=sent.routing_key,
        description=sent.description,
        secret=new_secret(),
        old_secret=None,
        old_until=None,
        link_secret=new_link_secret(),
        at=now_ms(),
        actor=caller.name,
        lines=caller.lines,
    )
    subscriptions.add(connection, new)
    audit.note(
        connection,
        caller.name,
        "webhook.create",
        new.webhook_id,
        host=where.authority,
        kinds=list(new.kinds),
        format=new.format,
        include_records=new.records,
    )
    return new


def need(connection: sa.Connection, webhook_id: str, lines: SeenLines) -> Webhook:
    """Raises NotFound, also for one that is told of more than the caller sees."""
    found = subscriptions.find(connection, webhook_id)
    if found is None or not lines.covers(found.lines):
        raise NotFound(f"no webhook {webhook_id[:60]!r}: see GET /webhooks", field="webhook_id")
    return found


def remove(connection: sa.Connection, webhook_id: str, caller: Caller) -> int:
    """End a webhook, and its links; how many messages it was not told any more. Raises NotFound."""
    tick(connection, "webhooks")
    webhook = need(connection, webhook_id, caller.lines)
    untold = outbox.remove_of(connection, webhook.webhook_id)
    subscriptions.remove(connection, webhook.webhook_id)
    audit.note(connection, caller.name, "webhook.delete", webhook.webhook_id, undelivered=untold)
    return untold


def renew_secret(connection: sa.Connection, webhook_id: str, caller: Caller) -> tuple[str, int]:
    """The new secret, and until when (ms) the one before it signs too. Raises NotFound."""
    tick(connection, "webhooks")
    webhook = need(connection, webhook_id, caller.lines)
    secret, until = new_secret(), now_ms() + OLD_SECRET_MS
    subscriptions.renew_secret(connection, webhook, secret, until)
    audit.note(connection, caller.name, "webhook.secret", webhook.webhook_id, old_until=iso(until))
    return secret, until


def replay(connection: sa.Connection, webhook_id: str, message_ids: list[str] | None, caller: Caller) -> int:
    """Let dead messages be sent again. Raises NotFound."""
    webhook = need(connection, webhook_id, caller.lines)
    count = outbox.replay(connection, webhook.webhook_id, message_ids, now_ms())
    audit.note(connection, caller.name, "webhook.replay", webhook.webhook_id, messages=count)
    return count


def deliveries(
    connection: sa.Connection,
    webhook_id: str,
    lines: SeenLines,
    state: outbox.State | None,
    limit: int,
    before: int | None,
) -> list[Message]:
    """Newest first. Raises NotFound."""
    return outbox.page(connection, need(connection, webhook_id, lines).webhook_id, state, limit, before)


def _linked(analyst: str | None, caller: Caller, settings: Settings) -> str | None:
    """In whose name links store verdicts. Raises InvalidRequest, Forbidden."""
    if analyst is None:
        return None
    if settings.public_url is None or not settings.pages:
        raise InvalidRequest(
            "analyst: links lead to this service's page, whose address has to be set by NEARNORM_PUBLIC_URL "
            "(and NEARNORM_PAGES not turned off)",
            field="analyst",
        )
    if "feedback" not in caller.roles:
        raise Forbidden(f"links store verdicts, and the key {caller.name!r} lacks the role 'feedback'")
    try:
        name = normalised(analyst)
    except ValueError as error:
        raise InvalidRequest(f"analyst: {error}", field="analyst") from None
    if caller.analyst is not None and name != caller.analyst:
        raise InvalidRequest("analyst: who is signed in speaks for himself alone", field="analyst")
    return name

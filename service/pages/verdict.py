"""The page of a webhook's link: one event, and a form that stores one verdict on it.

Nobody signs in: the link is the permission, for one event, in one name, once, for three days. Asking for the
page changes nothing, as whatever shows a preview of a link does ask for it.
"""

from typing import Any

import msgspec
import sqlalchemy as sa
from fastapi import Request, Response
from msgspec import Struct
from msgspec.structs import replace

from nearnorm.service.access.keyring import ANONYMOUS, Caller
from nearnorm.service.api.dependencies import services_of
from nearnorm.service.api.review.feedback import stored
from nearnorm.service.errors import InvalidRequest, NotFound
from nearnorm.service.feedback.submission import receipts
from nearnorm.service.feedback.submission.receipts import Receipt
from nearnorm.service.feedback.submission.request import read
from nearnorm.service.ids import iso, now_ms
from nearnorm.service.ledger.tables import idempotency
from nearnorm.service.ledger.tables.events import events
from nearnorm.service.ledger.tables.events.events import Event
from nearnorm.service.ledger.tables.webhooks.subscriptions import Webhook
from nearnorm.service.pages.frame.forms import sent_form
from nearnorm.service.pages.frame.routing import pages, see_other
from nearnorm.service.pages.frame.site import page
from nearnorm.service.webhooks import links

router = pages()

_ENDED = "this link leads nowhere, or no longer: links last three days, and end with their webhook"


class _Linked(Struct, frozen=True):
    """What a link leads to; `receipt`: of the verdict that was stored by it."""

    webhook: Webhook
    caller: Caller
    event: Event
    receipt: Receipt | None

    @property
    def key(self) -> str:
        return f"link {self.webhook.webhook_id} {self.event.event_id}"


@router.get(links.PATH)
async def get_verdict(request: Request, token: str = "") -> Response:
    """The event, and the form, or what was stored by it."""
    linked = await _linked(request, token)
    event = linked.event
    return await page(
        request,
        "verdict.html",
        token=token,
        analyst=linked.webhook.analyst,
        event=event,
        at=iso(event.at),
        record=event.record if linked.webhook.records else None,
        receipt=linked.receipt,
    )


@router.post(links.PATH)
async def post_verdict(request: Request) -> Response:
    """As POST /feedback, in the name that the link was sent to; a second one changes nothing."""
    form = await sent_form(request)
    token, label, comment = form.need("token"), form.need("label"), form.get("comment")
    if label not in ("anomaly", "normal"):
        raise InvalidRequest("label: anomaly or normal", field="label")
    linked = await _linked(request, token)
    if linked.receipt is None:
        item: dict[str, Any] = {
            "event_id": linked.event.event_id,
            "label": label,
            "analyst": linked.webhook.analyst,
        }
        if comment:
            item["comment"] = comment
        request.state.caller = linked.caller  # whose models are seen, as of who sends a key
        body = msgspec.json.encode({"model": linked.event.model, "labels": [item]})
        await stored(request, read(body, linked.caller, linked.key))
    return see_other(f"{links.PATH}?token={token}")


async def _linked(request: Request, token: str) -> _Linked:
    """Raises NotFound. A link that was made up costs no look at the ledger."""
    services = services_of(request)
    webhook = services.deliverer.webhook(links.webhook_id_of(token))
    event_id = links.event_of(token, webhook, now_ms()) if webhook else None
    if webhook is None or event_id is None or webhook.analyst is None:
        raise NotFound(_ENDED)
    holder = services.keyring.named(webhook.actor)
    if webhook.actor == ANONYMOUS.name:
        holder = services.keyring.holder(None)
    if holder is None or "feedback" not in holder.roles:
        raise NotFound("this link leads nowhere any more: the API key behind its webhook was revoked")
    caller = replace(holder, roles=frozenset({"feedback"}))  # a link decides no second opinion

    def look(connection: sa.Connection) -> _Linked | None:
        event = services.log.waiting(event_id) or events.find(connection, event_id)
        if event is None:
            return None
        linked = _Linked(webhook, caller, event, None)
        answered = idempotency.find(connection, caller.name, linked.key)
        if answered is None:
            return linked
        (said,) = answered.answer["receipts"]
        return replace(
            linked, receipt=receipts.receipt(connection, said["feedback_id"], services.log, caller.lines)
        )

    found = await services.log.seen(look)
    if found is None:
        raise NotFound("the event is not kept any more: it was erased, or pushed out by newer ones")
    return found

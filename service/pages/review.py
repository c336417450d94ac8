"""The review page: one record large, the next ones in a list, a verdict by one key."""

from typing import Any
from urllib.parse import urlencode

import msgspec
from fastapi import Request, Response

from nearnorm.service.api.dependencies import (
    model_of,
    services_of,
)
from nearnorm.service.api.dependencies import (
    read as read_as,
)
from nearnorm.service.api.review.claims import ClaimRequest, claimed
from nearnorm.service.api.review.events import get_event
from nearnorm.service.api.review.feedback import stored
from nearnorm.service.api.review.skips import SkipRequest, skipped
from nearnorm.service.api.review.snoozes import SnoozeRequest, snoozed, woken
from nearnorm.service.errors import InvalidRequest
from nearnorm.service.feedback.submission import receipts
from nearnorm.service.feedback.submission.request import read
from nearnorm.service.pages.cards import Card, card_of, cards_of
from nearnorm.service.pages.frame.forms import Form, form_of
from nearnorm.service.pages.frame.routing import pages, see_other
from nearnorm.service.pages.frame.site import page
from nearnorm.service.pages.frame.visitor import Reviewer, Visitor
from nearnorm.service.retraining.jobs import requests

router = pages()

SNOOZES = {"1": "an hour", "24": "a day", "72": "three days", "168": "a week", "720": "30 days"}
"""Hours, in words."""
AT_HAND = 8
"""Records on the page: the next ones are there before they are asked for."""


@router.get("/review")
async def get_review(
    request: Request,
    visitor: Reviewer,
    model: str = "default",
    event: str | None = None,
    said: str | None = None,
) -> Response:
    """What to review next, held for this analyst; `event` is shown first, `said` is the label just stored."""
    services = services_of(request)
    cards = await _at_hand(request, visitor, model)
    shown = next((place for place, card in enumerate(cards) if card.event_id == event), 0)
    about = None
    if event is not None:
        about = await get_event(request, event, visitor.caller, model)
        if not cards or cards[shown].event_id != event:  # it is judged, or somebody else's
            cards.insert(0, card_of(about))
    unread = await services.ledger.seen(lambda c: requests.unread(c, model).records)
    context: dict[str, Any] = {
        "model": model,
        "cards": cards,
        "shown": shown,
        "policy": services.policies.of(model),
        "unread": unread,
        "triggers_at": services.rule.after,
        "receipt": None,
        "about": about,
        "snoozes": SNOOZES,
    }
    if said is not None:
        context["receipt"] = await services.log.seen(
            lambda c: receipts.receipt(c, said, services.log, visitor.caller.lines)
        )
    return await page(request, "review.html", **context)


@router.get("/review/more")
async def get_more(request: Request, visitor: Reviewer, model: str = "default") -> Response:
    """The cards alone, for a script that has few left."""
    cards = await _at_hand(request, visitor, model)
    policy = services_of(request).policies.of(model)
    context: dict[str, Any] = {"model": model, "cards": cards, "shown": None, "policy": policy, "about": None}
    context["snoozes"] = SNOOZES
    return await page(request, "parts/cards.html", **context)


@router.get("/review/about")
async def get_about(request: Request, visitor: Reviewer, event: str, model: str = "default") -> Response:
    """What else there is to know of a record, for the card that a script shows."""
    about = await get_event(request, event, visitor.caller, model)
    return await page(request, "parts/about.html", about=about, model=model)


@router.post("/review/verdict")
async def post_verdict(request: Request, visitor: Reviewer) -> Response:
    """One verdict, and the comment that goes with it."""
    form = await form_of(request)
    label = {"event_id": form.need("event_id"), "label": form.need("label")}
    if comment := form.get("comment"):
        label["comment"] = comment
    return await _said(request, visitor, form, label)


@router.post("/review/undo")
async def post_undo(request: Request, visitor: Reviewer) -> Response:
    """The verdict that was stored last is taken back."""
    form = await form_of(request)
    return await _said(request, visitor, form, {"retract": form.need("feedback_id")})


@router.post("/review/skip")
async def post_skip(request: Request, visitor: Reviewer) -> Response:
    """This analyst will not judge the record."""
    form = await form_of(request)
    model = form.get("model") or "default"
    skip = {"model": model, "event_id": form.need("event_id"), "reason": form.need("reason")}
    await skipped(request, visitor.caller, read_as(msgspec.json.encode(skip), SkipRequest))
    return see_other(f"/review?{urlencode({'model': model})}")


@router.post("/review/snooze")
async def post_snooze(request: Request, visitor: Reviewer) -> Response:
    """Nobody is to look at the record for so many hours."""
    form = await form_of(request)
    model = form.get("model") or "default"
    snooze = {
        "model": model,
        "event_id": form.need("event_id"),
        "reason": form.need("reason"),
        "seconds": 3600 * _hours(form.need("hours")),
    }
    await snoozed(request, visitor.caller, read_as(msgspec.json.encode(snooze), SnoozeRequest))
    return see_other(f"/review?{urlencode({'model': model})}")


@router.post("/review/wake")
async def post_wake(request: Request, visitor: Reviewer) -> Response:
    """The record may be handed out again."""
    form = await form_of(request)
    model, event_id = form.get("model") or "default", form.need("event_id")
    await woken(request, event_id, model)
    return see_other(f"/review?{urlencode({'model': model, 'event': event_id})}")


def _hours(text: str) -> int:
    if text not in SNOOZES:
        raise InvalidRequest("hours: choose one of the list", field="hours")
    return int(text)


async def _at_hand(request: Request, visitor: Visitor, model: str) -> list[Card]:
    held = await claimed(request, visitor.caller, ClaimRequest(model=model, limit=AT_HAND, explain=True))
    return cards_of(held.claims, await model_of(request, model))


async def _said(request: Request, visitor: Visitor, form: Form, label: dict[str, str]) -> Response:
    """Stored as POST /feedback stores it; then the page shows the next record, and what was said."""
    model = form.get("model") or "default"
    body = msgspec.json.encode({"model": model, "labels": [label]})
    answer = await stored(request, read(body, visitor.caller, None))
    said = answer["receipts"][0]["feedback_id"]
    return see_other(f"/review?{urlencode({'model': model, 'said': said})}")

"""The page of groups: records that are alike as a list with ticks, and one verdict for what is ticked."""

import secrets
from typing import Any
from urllib.parse import urlencode

import msgspec
from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from nearnorm.service.api.dependencies import services_of
from nearnorm.service.api.review.feedback import previewed, stored
from nearnorm.service.api.review.queue_groups import gathered
from nearnorm.service.errors import InvalidRequest
from nearnorm.service.feedback.submission import group_verdict
from nearnorm.service.pages.effects import in_words
from nearnorm.service.pages.frame.forms import Form, form_of
from nearnorm.service.pages.frame.routing import pages, see_other
from nearnorm.service.pages.frame.site import page
from nearnorm.service.pages.frame.visitor import Reviewer, Visitor

router = pages()

SHOWN = 20
"""Groups on the page, the largest."""


@router.get("/groups")
async def get_groups(
    request: Request,
    visitor: Reviewer,
    model: str = "default",
    said: str | None = None,
) -> Response:
    """What is alike in the queue; `said` is the verdict just stored, or taken back."""
    stands = None
    if said is not None:
        stands = await services_of(request).ledger.seen(
            lambda c: group_verdict.stands(c, said, visitor.caller.lines)
        )
    found = await gathered(request, visitor.caller, model, None, SHOWN)
    return await page(request, "groups.html", model=model, found=found, said=said, stands=stands)


@router.post("/groups/preview")
async def post_preview(request: Request, visitor: Reviewer) -> Response:
    """What the verdict will do, with a button that stores it."""
    form = await form_of(request)
    verdict = _verdict(form)
    body = msgspec.json.encode({**verdict, "preview": True})
    effects = await previewed(request, group_verdict.read(body, visitor.caller, None))
    return await page(
        request,
        "group_verdict.html",
        model=verdict["model"],
        verdict=verdict,
        words=in_words(effects),
        comment=verdict.get("comment"),
        records=effects["records"],
        key=secrets.token_urlsafe(16),
    )


@router.post("/groups/verdict")
async def post_verdict(request: Request, visitor: Reviewer) -> Response:
    """As POST /feedback/groups; sent twice, it is stored once."""
    form = await form_of(request)
    return await _said(request, visitor, _verdict(form), form.get("key"))


@router.post("/groups/undo")
async def post_undo(request: Request, visitor: Reviewer) -> Response:
    """The verdict is taken back as one."""
    form = await form_of(request)
    group = form.need("group")
    return await _said(
        request, visitor, {"model": form.get("model") or "default", "retract_group": group}, None
    )


async def _said(
    request: Request, visitor: Visitor, verdict: dict[str, Any], key: str | None
) -> RedirectResponse:
    answer = await stored(request, group_verdict.read(msgspec.json.encode(verdict), visitor.caller, key))
    said = answer.get("group") or verdict["retract_group"]
    return see_other(f"/groups?{urlencode({'model': verdict['model'], 'said': said})}")


def _verdict(form: Form) -> dict[str, Any]:
    """Raises InvalidRequest where nothing is ticked."""
    event_ids = form.every("event_id")
    if not event_ids:
        raise InvalidRequest("tick the records that the verdict is for", field="event_ids")
    verdict: dict[str, Any] = {
        "model": form.get("model") or "default",
        "event_ids": event_ids,
        "label": form.need("label"),
    }
    return verdict | ({"comment": comment} if (comment := form.get("comment")) else {})

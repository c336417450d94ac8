"""Claims: what to review next, for one analyst and for a while."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Request
from msgspec import Meta
from pydantic import BaseModel

from nearnorm.models.conformal import lowest_percentile
from nearnorm.service.access.analyst_name import normalised
from nearnorm.service.access.keyring import Caller
from nearnorm.service.api.dependencies import body_of, described, needs, read, services_of
from nearnorm.service.api.queue import QueueItem, items_of
from nearnorm.service.errors import InvalidRequest
from nearnorm.service.feedback import claims
from nearnorm.service.feedback.claims import MOST, Ask, ReviewScope
from nearnorm.service.feedback.submission.request import MOST_LABELS, Name
from nearnorm.service.ids import iso
from nearnorm.service.ledger.tables.feedback.claims import LONGEST_MS, Holder
from nearnorm.service.serving.registry import Registry

router = APIRouter(prefix="/claims", tags=["feedback"])

SHORTEST, LONGEST = 30, LONGEST_MS // 1000  # seconds


class ClaimRequest(msgspec.Struct, forbid_unknown_fields=True):
    """`analyst` is who reviews, as in POST /feedback; without it, the API key's name."""

    model: str = "default"
    analyst: Name | None = None
    limit: Annotated[int, Meta(ge=0, le=MOST)] = 20
    seconds: Annotated[int, Meta(ge=SHORTEST, le=LONGEST)] = 600
    explain: bool = False


class ReleaseRequest(msgspec.Struct, forbid_unknown_fields=True):
    """`event_ids` as they were handed out; without them, all that the analyst holds."""

    model: str = "default"
    analyst: Name | None = None
    event_ids: Annotated[list[Name], Meta(max_length=MOST_LABELS)] | None = None


class ClaimedItem(QueueItem):
    """An item of the queue that nobody else gets until then."""

    claimed_until: str


class Claims(BaseModel):
    """All that the analyst holds, in the order in which it was handed out."""

    claims: list[ClaimedItem]


class Released(BaseModel):
    """How many records others may have now."""

    released: int


@router.post("", response_model_exclude_none=True, openapi_extra=described(ClaimRequest))
async def post_claims(request: Request, caller: Annotated[Caller, needs("feedback")]) -> Claims:
    """Hold up to `limit` of the queue's next records for so many seconds: no other analyst gets them.

    Sent again, it renews what the analyst holds, and fills up what was judged since. A label ends a claim.
    """
    return await claimed(request, caller, read(await body_of(request), ClaimRequest))


async def claimed(request: Request, caller: Caller, sent: ClaimRequest) -> Claims:
    """What the analyst holds from now on. Raises InvalidRequest, UnknownModel, Conflict."""
    services = services_of(request)
    registry: Registry = request.app.state.registry
    loaded = registry.get(sent.model)
    threshold = lowest_percentile(loaded.ranks.policy.budget)
    review = ReviewScope(sent.model, loaded.ref.version, threshold, services.settings.reference_reviews)
    ask = Ask(_holder(caller, sent.analyst), sent.limit, 1000 * sent.seconds, "operate" in caller.roles)
    held = await services.ledger.written(lambda c: claims.claim(c, review, ask))
    items = await items_of(held.picks, loaded, sent.explain)
    until = iso(held.until)
    return Claims(claims=[ClaimedItem(**item.model_dump(), claimed_until=until) for item in items])


@router.post("/release", openapi_extra=described(ReleaseRequest))
async def post_release(request: Request, caller: Annotated[Caller, needs("feedback")]) -> Released:
    """Give records back before their time, for others to review. What is not held is passed over."""
    sent = read(await body_of(request), ReleaseRequest)
    registry: Registry = request.app.state.registry
    registry.get(sent.model)
    holder = _holder(caller, sent.analyst)
    released = await services_of(request).ledger.written(
        lambda c: claims.give_back(c, sent.model, holder, sent.event_ids)
    )
    return Released(released=released)


def _holder(caller: Caller, analyst: str | None) -> Holder:
    """Raises InvalidRequest."""
    try:
        return Holder(caller.name, caller.name if analyst is None else normalised(analyst))
    except ValueError as error:
        raise InvalidRequest(f"analyst: {error}", field="analyst") from None

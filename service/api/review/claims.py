"""Claims: what to review next, for one analyst and for a while."""

from datetime import datetime
from typing import Annotated

import msgspec
import sqlalchemy as sa
from fastapi import APIRouter, Query, Request
from msgspec import Meta
from pydantic import BaseModel

from nearnorm.models.conformal import lowest_percentile
from nearnorm.service.access.analyst_name import whose
from nearnorm.service.access.keyring import Caller, check_role
from nearnorm.service.api.dependencies import (
    body_of,
    check_model,
    described,
    model_of,
    needs,
    read,
    services_of,
)
from nearnorm.service.api.review.queue import QueueItem, items_of, skips_of
from nearnorm.service.errors import InvalidRequest
from nearnorm.service.feedback import claims
from nearnorm.service.feedback.claims import MOST, Ask, Held, ReviewScope
from nearnorm.service.feedback.submission.request import MOST_LABELS, Name
from nearnorm.service.ids import iso, now_ms
from nearnorm.service.ledger.tables.feedback import claims as leases
from nearnorm.service.ledger.tables.feedback.claims import LONGEST_MS, Holder

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
    """`event_ids` as they were handed out; without them, all that the analyst holds. `claimed_until` as it
    was answered: what was renewed since is kept, as a second page of the analyst shows it. `key` is the name
    of the API key that the analyst asked by: only an operator gives back what others hold."""

    model: str = "default"
    key: Name | None = None
    analyst: Name | None = None
    event_ids: Annotated[list[Name], Meta(max_length=MOST_LABELS)] | None = None
    claimed_until: Annotated[datetime, Meta(tz=True)] | None = None


class ClaimedItem(QueueItem):
    """An item of the queue that nobody else gets until then."""

    claimed_until: str


class Claims(BaseModel):
    """All that the analyst holds, in the order in which it was handed out."""

    claims: list[ClaimedItem]


class Lease(BaseModel):
    """Who holds a record, and until when."""

    event_id: str
    why: str
    key: str
    analyst: str
    claimed_until: str


class LeasePage(BaseModel):
    """In the order in which they were handed out; `next` is the cursor of the page after this one."""

    claims: list[Lease]
    next: str | None = None


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
    loaded = await model_of(request, sent.model)
    threshold = lowest_percentile(loaded.ranks.policy.budget)
    review = ReviewScope(sent.model, loaded.ref.version, threshold, services.settings.reference_reviews)
    ask = Ask(holder_of(caller, sent.analyst), sent.limit, 1000 * sent.seconds, "operate" in caller.roles)

    def claim(connection: sa.Connection) -> tuple[Held, dict[str, int]]:
        held = claims.claim(connection, review, ask)
        return held, skips_of(connection, sent.model, held.picks)

    held, skipped = await services.ledger.written(claim)
    items = await items_of(held.picks, loaded, sent.explain, skipped, caller.name)
    until = iso(held.until)
    return Claims(claims=[ClaimedItem(**item.model_dump(), claimed_until=until) for item in items])


@router.get("", response_model_exclude_none=True)
async def list_claims(
    request: Request,
    caller: Annotated[Caller, needs(None)],
    model: str = "default",
    analyst: Annotated[
        str | None, Query(description="One of the key's; by default as in POST /claims.")
    ] = None,
    everybody: Annotated[
        bool, Query(description="Of all keys and analysts; needs the role operate.")
    ] = False,
    limit: Annotated[int, Query(ge=1, le=1000)] = MOST,
    cursor: Annotated[str, Query(pattern=r"^[0-9]{1,18}\.[0-9]{1,9}$")] = "0.0",
) -> LeasePage:
    """What an analyst holds. Who has the role operate may ask what everybody holds."""
    _check_reviews(caller)
    if everybody:
        check_role(caller, "operate")
    holder = None if everybody else holder_of(caller, analyst)
    return await held_by(request, model, holder, limit, cursor)


async def held_by(
    request: Request, model: str, holder: Holder | None, limit: int, cursor: str = "0.0"
) -> LeasePage:
    """What one analyst holds, or all (None). Raises UnknownModel."""
    check_model(request, model)
    turn, _, place = cursor.partition(".")
    found = await services_of(request).ledger.seen(
        lambda c: leases.page(c, model, holder, now_ms(), limit + 1, (int(turn), int(place)))
    )
    last = found[limit - 1] if len(found) > limit else None
    return LeasePage(
        claims=[
            Lease(
                event_id=one.event_id,
                why=one.why,
                key=one.actor,
                analyst=one.analyst,
                claimed_until=iso(one.until),
            )
            for one in found[:limit]
        ],
        next=f"{last.turn}.{last.place}" if last else None,
    )


@router.post("/release", openapi_extra=described(ReleaseRequest))
async def post_release(request: Request, caller: Annotated[Caller, needs(None)]) -> Released:
    """Give records back before their time, for others to review. What is not held is passed over.

    Who has the role operate takes back what other keys' analysts hold; the audit trail tells so.
    """
    _check_reviews(caller)
    return await released(request, caller, read(await body_of(request), ReleaseRequest))


async def released(request: Request, caller: Caller, sent: ReleaseRequest) -> Released:
    """Raises InvalidRequest, UnknownModel, Forbidden."""
    check_model(request, sent.model)
    until = _ms(sent.claimed_until)
    if sent.key is None:
        holder = holder_of(caller, sent.analyst)
        count = await services_of(request).ledger.written(
            lambda c: claims.give_back(c, sent.model, holder, sent.event_ids, until)
        )
    else:
        check_role(caller, "operate")
        other = Holder(sent.key, _analyst(sent.analyst, None, sent.key))
        count = await services_of(request).ledger.written(
            lambda c: claims.take_back(c, sent.model, other, sent.event_ids, until, caller.name)
        )
    return Released(released=count)


def _check_reviews(caller: Caller) -> None:
    """Raises Forbidden for one who neither reviews nor oversees reviews."""
    if "operate" not in caller.roles:
        check_role(caller, "feedback")


def holder_of(caller: Caller, analyst: str | None) -> Holder:
    """Raises InvalidRequest."""
    return Holder(caller.name, _analyst(analyst, caller.analyst, caller.name))


def _analyst(named: str | None, signed_in: str | None, key: str) -> str:
    try:
        return whose(named, signed_in, key)
    except ValueError as error:
        raise InvalidRequest(f"analyst: {error}", field="analyst") from None


def _ms(time: datetime | None) -> int | None:
    return None if time is None else round(1000 * time.timestamp())

"""Skips: an analyst will not judge a record, and says why. Others are still handed it."""

from typing import Annotated

import msgspec
import sqlalchemy as sa
from fastapi import APIRouter, Request
from msgspec import Meta
from pydantic import BaseModel

from nearnorm.service.access.keyring import Caller
from nearnorm.service.api.dependencies import (
    body_of,
    check_model,
    described,
    needs,
    read,
    services_of,
    versions_of,
)
from nearnorm.service.api.review.claims import holder_of
from nearnorm.service.errors import InvalidRequest
from nearnorm.service.feedback import claims, review
from nearnorm.service.feedback.submission.request import Name
from nearnorm.service.records.limits import ID_CHARACTERS

router = APIRouter(prefix="/claims", tags=["feedback"])

REASONS = ("unsure", "needs more context", "not my field", "I know the people")
"""What people say most; any other words will do."""
SkipReason = Annotated[
    str, Meta(min_length=1, max_length=ID_CHARACTERS, pattern=r"^[^\x00]*$", examples=list(REASONS))
]


class SkipRequest(msgspec.Struct, forbid_unknown_fields=True):
    """`analyst` as in POST /claims. `reason`: words of one's own, or one of the examples."""

    event_id: Name
    reason: SkipReason
    model: str = "default"
    analyst: Name | None = None


class Skipped(BaseModel):
    """How many analysts would not judge the record, this one counted."""

    skipped: int


@router.post("/skip", openapi_extra=described(SkipRequest))
async def post_skip(request: Request, caller: Annotated[Caller, needs("feedback")]) -> Skipped:
    """Do not judge a record: its claim ends, others are handed it, and this analyst is not any more."""
    return await skipped(request, caller, read(await body_of(request), SkipRequest))


async def skipped(request: Request, caller: Caller, sent: SkipRequest) -> Skipped:
    """Raises InvalidRequest, UnknownModel, NotFound, Conflict."""
    check_model(request, sent.model)
    holder, reason = holder_of(caller, sent.analyst), reason_of(sent.reason)
    log, versions = services_of(request).log, versions_of(request, sent.model)

    def skip(connection: sa.Connection) -> int:
        found = review.need(connection, log, sent.model, sent.event_id, versions, caller.lines)
        return claims.skip(connection, found.event, holder, reason)

    return Skipped(skipped=await services_of(request).ledger.written(skip))


def reason_of(sent: str) -> str:
    """In one line. Raises InvalidRequest where nothing is said."""
    reason = " ".join(sent.split())
    if not reason:
        raise InvalidRequest("reason: say why in a word or two", field="reason")
    return reason

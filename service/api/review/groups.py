"""One verdict for a group of records."""

from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse

from nearnorm.service.access.keyring import Caller
from nearnorm.service.api.dependencies import body_of, described, needs
from nearnorm.service.api.review.feedback import previewed, stored
from nearnorm.service.feedback.submission import group_verdict
from nearnorm.service.feedback.submission.group_verdict import GroupVerdict

router = APIRouter(prefix="/feedback/groups", tags=["feedback"])

_SAID = (("event_ids", "label"), ("retract_group",))
_Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)]


@router.post("", status_code=201, openapi_extra=described(GroupVerdict, one_of=_SAID))
async def post_group(
    request: Request,
    caller: Annotated[Caller, needs("feedback")],
    idempotency_key: _Key = None,
) -> JSONResponse:
    """Give up to 1,000 records one label as one verdict, or take such a verdict back: all of it, or nothing.

    With `preview` nothing is stored: 200 tells what it would do.
    """
    sent = group_verdict.read(await body_of(request), caller, idempotency_key)
    if sent.preview:
        return JSONResponse({"preview": await previewed(request, sent)})
    return JSONResponse(await stored(request, sent), 201)

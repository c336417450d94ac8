"""Analysts' verdicts: taken, and what became of them."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from nearnorm.service.access.analyst_name import normalised, whose
from nearnorm.service.access.keyring import Caller
from nearnorm.service.api.dependencies import body_of, described, needs, schema_of, services_of
from nearnorm.service.errors import InvalidRequest
from nearnorm.service.feedback.opinions import opinions
from nearnorm.service.feedback.submission import receipts, submit
from nearnorm.service.feedback.submission.receipts import Receipt
from nearnorm.service.feedback.submission.request import FeedbackRequest, Item, Submission, read
from nearnorm.service.feedback.submission.second_opinion import Opinion
from nearnorm.service.feedback.submission.submit import Accepted
from nearnorm.service.ledger.label_history import Label
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.serving.registry import Registry

router = APIRouter(prefix="/feedback", tags=["feedback"])

_SAID = (("label", "event_id"), ("label", "record_id"), ("label", "record"), ("retract",))
_Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)]


@router.post(
    "", status_code=201, openapi_extra=described(FeedbackRequest, labels=schema_of(Item, one_of=_SAID))
)
async def post_feedback(
    request: Request,
    caller: Annotated[Caller, needs("feedback")],
    idempotency_key: _Key = None,
) -> JSONResponse:
    """Store labels and retractions: all of them, on disk before the answer, or none.

    Sent again with the same Idempotency-Key, it is answered again and stored once.
    """
    return JSONResponse(await stored(request, read(await body_of(request), caller, idempotency_key)), 201)


async def stored(request: Request, sent: Submission) -> dict[str, Any]:
    """Store labels that were sent, whoever's form they came by; the answer to them.

    Raises InvalidRequest with one error an item, Conflict, TooManyLabels, LedgerUnavailable.
    """
    services, registry = services_of(request), request.app.state.registry

    def encoder(model: str) -> Encoder:
        found: Registry = registry
        return found.get(model).encoder

    def judge(labels: Sequence[Label]) -> dict[str, Opinion]:
        found: Registry = registry
        return opinions(found.get(sent.model), labels)

    def store(connection: sa.Connection) -> Accepted:
        return submit.submit(connection, sent, services.log, encoder, judge, services.settings, services.rule)

    accepted = await services.ledger.written(store)
    services.follower.learn(registry.get(sent.model), accepted.standings)
    return accepted.answer


class ReceiptPage(BaseModel):
    """Newest first, each as GET /feedback/{feedback_id}; `next` is the cursor of the page after this one."""

    receipts: list[dict[str, Any]]
    next: str | None = None


@router.get("", response_model_exclude_none=True)
async def list_feedback(
    request: Request,
    caller: Annotated[Caller, needs("feedback")],
    model: str = "default",
    analyst: Annotated[
        str | None, Query(description="Whose labels; with the role operate, by whichever key they came.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    cursor: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
) -> ReceiptPage:
    """What became of the labels that the caller's key brought, or that who is signed in said."""
    request.app.state.registry.get(model)
    found, end = await told(request, caller, model, analyst, limit, cursor)
    return ReceiptPage(receipts=msgspec.to_builtins(found), next=None if end is None else str(end))


async def told(
    request: Request, caller: Caller, model: str, analyst: str | None, limit: int, cursor: int | None
) -> tuple[list[Receipt], int | None]:
    """Receipts, newest first, and the cursor to go on from. Raises InvalidRequest."""
    services = services_of(request)
    key: str | None = caller.name
    name = caller.analyst
    if analyst is not None:
        try:
            if "operate" in caller.roles:
                key, name = None, normalised(analyst)
            else:
                name = whose(analyst, caller.analyst, caller.name)
        except ValueError as error:
            raise InvalidRequest(f"analyst: {error}", field="analyst") from None
    return await services.ledger.seen(
        lambda c: receipts.newest(c, model, key, name, limit, cursor, services.log)
    )


@router.get("/{feedback_id}")
async def get_feedback(
    request: Request, feedback_id: str, _: Annotated[Caller, needs("feedback")]
) -> dict[str, Any]:
    """The receipt of one label: where it stands, and what was learnt from it."""
    services = services_of(request)
    receipt = await services.ledger.seen(lambda c: receipts.receipt(c, feedback_id, services.log))
    answer: dict[str, Any] = msgspec.to_builtins(receipt)
    return answer

"""Analysts' verdicts: taken, and what became of them."""

from typing import Annotated, Any

import msgspec
import sqlalchemy as sa
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from nearnorm.service import labelling
from nearnorm.service.access.analyst_name import normalised, whose
from nearnorm.service.access.keyring import Caller
from nearnorm.service.api.dependencies import (
    body_of,
    check_model,
    described,
    lines_of,
    needs,
    schema_of,
    services_of,
)
from nearnorm.service.errors import InvalidRequest
from nearnorm.service.feedback.submission import effects, receipts, submit
from nearnorm.service.feedback.submission.effects import Basis, Effects
from nearnorm.service.feedback.submission.receipts import Receipt
from nearnorm.service.feedback.submission.request import FeedbackRequest, Item, Submission, read
from nearnorm.service.ledger.clock import tick
from nearnorm.service.serving.registry import Registry
from nearnorm.service.verdict import policies

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

    Sent again with the same Idempotency-Key, it is answered again and stored once. With `preview` nothing is
    stored: 200 tells what the labels would do.
    """
    sent = read(await body_of(request), caller, idempotency_key)
    if sent.preview:
        return JSONResponse({"preview": await previewed(request, sent)})
    return JSONResponse(await stored(request, sent), 201)


async def stored(request: Request, sent: Submission) -> dict[str, Any]:
    """Store labels that were sent, whoever's form they came by; the answer to them.

    Raises InvalidRequest with one error an item, Conflict, TooManyLabels, LedgerUnavailable.
    """
    return await labelling.stored(services_of(request), request.app.state.registry, sent)


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
    check_model(request, model)
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
    return await services.log.seen(
        lambda c: receipts.newest(c, model, key, name, limit, cursor, services.log)
    )


async def previewed(request: Request, sent: Submission) -> dict[str, Any]:
    """What labels would do that were sent. Raises as `stored` does, for what it would refuse."""
    services = services_of(request)
    registry: Registry = request.app.state.registry
    loaded = await registry.bring(sent.model, sent.lines)
    encoder, judge = labelling.reading(loaded)
    sent = labelling.within(registry, sent)

    def before(connection: sa.Connection) -> Basis:
        known = services.policies.of(sent.model)
        in_force = known or policies.current(connection, services.follower.ground(loaded), None)
        return effects.basis(connection, loaded.manifest, sent.model, in_force, services.traffic)

    def attempt(connection: sa.Connection) -> Effects:
        change = tick(connection, "labels")
        statements = submit.bind(connection, sent, services.log, encoder)
        held = effects.held_by_others(connection, statements)
        accepted = submit.store(connection, change, sent, statements, judge, services.settings, services.rule)
        return effects.effects(connection, sent, statements, held, accepted, basis)

    basis = await services.ledger.seen(before)
    return (await services.ledger.tried(attempt)).as_dict()


@router.get("/{feedback_id}")
async def get_feedback(
    request: Request, feedback_id: str, _: Annotated[Caller, needs("feedback")]
) -> dict[str, Any]:
    """The receipt of one label: where it stands, and what was learnt from it."""
    services = services_of(request)
    lines = lines_of(request)
    receipt = await services.log.seen(lambda c: receipts.receipt(c, feedback_id, services.log, lines))
    answer: dict[str, Any] = msgspec.to_builtins(receipt)
    return answer

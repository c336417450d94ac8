"""Snoozes: a record that nobody is to look at before a time, as when something else has to be known first."""

from typing import Annotated

import msgspec
import sqlalchemy as sa
from fastapi import APIRouter, Query, Request
from msgspec import Meta
from pydantic import BaseModel

from nearnorm.service.access.keyring import Caller
from nearnorm.service.api.dependencies import (
    body_of,
    check_model,
    described,
    lines_of,
    needs,
    read,
    services_of,
    versions_of,
)
from nearnorm.service.api.review.claims import holder_of
from nearnorm.service.api.review.skips import reason_of
from nearnorm.service.feedback import review, snoozing
from nearnorm.service.feedback.submission.request import Name
from nearnorm.service.ids import iso, now_ms
from nearnorm.service.ledger.tables.feedback import snoozes
from nearnorm.service.ledger.tables.feedback.snoozes import Snooze
from nearnorm.service.records.limits import ID_CHARACTERS

router = APIRouter(prefix="/snoozes", tags=["feedback"])

SHORTEST, LONGEST = 60, 90 * 24 * 3600  # seconds
_Reason = Annotated[
    str, Meta(min_length=1, max_length=ID_CHARACTERS, pattern=r"^[^\x00]*$", examples=["the bank calls back"])
]


class SnoozeRequest(msgspec.Struct, forbid_unknown_fields=True):
    """`seconds`: for how long, from a minute to 90 days. `analyst` as in POST /claims."""

    event_id: Name
    seconds: Annotated[int, Meta(ge=SHORTEST, le=LONGEST)]
    reason: _Reason
    model: str = "default"
    analyst: Name | None = None


class Snoozed(BaseModel):
    """Whose record sleeps, until when, who wanted it by which `key`, and why."""

    event_id: str
    until: str
    key: str
    analyst: str
    reason: str

    @classmethod
    def of(cls, snooze: Snooze) -> "Snoozed":
        return cls(
            event_id=snooze.event_id,
            until=iso(snooze.until),
            key=snooze.actor,
            analyst=snooze.analyst,
            reason=snooze.reason,
        )


class SnoozePage(BaseModel):
    """What wakes next comes first; `next` is the cursor of the page after this one."""

    snoozes: list[Snoozed]
    next: str | None = None


class Woken(BaseModel):
    """The event whose record may be handed out again."""

    event_id: str


@router.post("", openapi_extra=described(SnoozeRequest))
async def post_snooze(request: Request, caller: Annotated[Caller, needs("feedback")]) -> Snoozed:
    """Leave a record, and all that equal it, out of the queue and of claims for so long; it may still be
    judged. Sent again, the newer time and reason stand."""
    return await snoozed(request, caller, read(await body_of(request), SnoozeRequest))


async def snoozed(request: Request, caller: Caller, sent: SnoozeRequest) -> Snoozed:
    """Raises InvalidRequest, UnknownModel, NotFound, Conflict."""
    check_model(request, sent.model)
    holder, reason = holder_of(caller, sent.analyst), reason_of(sent.reason)
    log, versions = services_of(request).log, versions_of(request, sent.model)
    until = now_ms() + 1000 * sent.seconds

    def snooze(connection: sa.Connection) -> Snooze:
        found = review.need(connection, log, sent.model, sent.event_id, versions, caller.lines)
        return snoozing.snooze(connection, found.event, holder, reason, until)

    return Snoozed.of(await services_of(request).ledger.written(snooze))


@router.get("", response_model_exclude_none=True)
async def list_snoozes(
    request: Request,
    _: Annotated[Caller, needs("feedback")],
    model: str = "default",
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    cursor: Annotated[str, Query(pattern=r"^[0-9]{1,18}\.[0-9a-f]{0,64}$")] = "0.",
) -> SnoozePage:
    """The records that sleep."""
    check_model(request, model)
    until, _dot, digest = cursor.partition(".")
    found = await services_of(request).ledger.seen(
        lambda c: snoozes.page(c, model, now_ms(), limit + 1, (int(until), digest))
    )
    last = found[limit - 1] if len(found) > limit else None
    return SnoozePage(
        snoozes=[Snoozed.of(one) for one in found[:limit]],
        next=f"{last.until}.{last.digest}" if last else None,
    )


@router.delete("/{event_id}")
async def delete_snooze(
    request: Request, event_id: str, _: Annotated[Caller, needs("feedback")], model: str = "default"
) -> Woken:
    """Wake a record before its time, whoever put it to sleep."""
    return await woken(request, event_id, model)


async def woken(request: Request, event_id: str, model: str) -> Woken:
    """Raises UnknownModel, NotFound."""
    check_model(request, model)
    log, versions, lines = services_of(request).log, versions_of(request, model), lines_of(request)

    def wake(connection: sa.Connection) -> None:
        snoozing.wake(connection, review.need(connection, log, model, event_id, versions, lines).event)

    await services_of(request).ledger.written(wake)
    return Woken(event_id=event_id)

"""Alerts as other systems fetch them: by the page or as a stream of lines, plain or as OCSF's findings."""

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from nearnorm.service.access.keyring import Caller
from nearnorm.service.alerts.alert import Alert, plain
from nearnorm.service.alerts.ocsf import finding
from nearnorm.service.api.dependencies import (
    model_of,
    needs,
)
from nearnorm.service.api.review.kept_query import CURSOR, MOST_LISTED, KeptQuery, found_events
from nearnorm.service.errors import ServiceError
from nearnorm.service.http.body import JSON, NDJSON, is_lines
from nearnorm.service.http.middleware.problems import AnswerCutOff
from nearnorm.service.ids import iso
from nearnorm.service.ledger.tables.events.events import Event
from nearnorm.service.logs import log
from nearnorm.service.scoring.explain import assess

router = APIRouter(prefix="/alerts", tags=["feedback"])

STREAMED_AT_ONCE = 500
_PAGE = 50

_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines
_SHAPES: dict[str, Callable[[Alert], dict[str, Any]]] = {"plain": plain, "ocsf": finding}


class AlertQuery(KeptQuery):
    include_records: bool = Field(default=False, description="Whether alerts tell the record's values.")
    explain: bool = Field(default=False, description="Whether they tell the serving model's reasons.")
    shape: Literal["plain", "ocsf"] = "plain"
    format: Literal["json", "ndjson"] | None = Field(default=None, description="Without it, as Accept says.")
    limit: int | None = Field(
        default=None,
        ge=1,
        le=2**31 - 1,
        description=f"At most so many. A page has {_PAGE} without it, and {MOST_LISTED} at most; "
        "a stream has all that fit.",
    )
    cursor: str | None = Field(
        default=None, pattern=CURSOR, description="`next` of a page; of a stream the last event's id."
    )


class ToldAlert(BaseModel):
    """As webhooks tell it: `record` where it was asked for, `reasons` the features that are some."""

    event_id: str
    at: str
    model: str
    model_version: str
    score: float
    percentile: float
    id: str | None = None
    record: dict[str, Any] | None = None
    reasons: list[str] | None = None


class AlertPage(BaseModel):
    """Newest first. `next` is the cursor of the page after this one. `searched_to`: the search ended here, at
    its bounds; older alerts may fit, and `next` goes on."""

    alerts: list[ToldAlert]
    next: str | None = None
    searched_to: str | None = None


class FindingPage(BaseModel):
    """The same as Detection Findings of the Open Cybersecurity Schema Framework, 1.5.0."""

    alerts: list[dict[str, Any]]
    next: str | None = None
    searched_to: str | None = None


class _Part(msgspec.Struct, omit_defaults=True):
    """A bounded piece of what fits, in the shape that was asked for."""

    alerts: list[dict[str, Any]]
    next: str | None = None
    searched_to: str | None = None


_LINES = {"description": "In lines, where they were asked for", "content": {NDJSON.decode(): {"schema": {}}}}


@router.get("", response_model=AlertPage | FindingPage, responses={200: _LINES})
async def get_alerts(
    request: Request, caller: Annotated[Caller, needs("feedback")], query: Annotated[AlertQuery, Query()]
) -> Response:
    """Alerts that fit all that is asked for, newest first: a page of JSON, or all of them a line each."""
    if _wants_lines(query, request.headers.get("accept", "")):
        at_once = MOST_LISTED if query.explain else STREAMED_AT_ONCE
        first = await _part(request, caller, query, query.cursor, min(at_once, query.limit or at_once))
        lines = _lines(request, caller, query, first, at_once)
        return StreamingResponse(lines, media_type=NDJSON.decode(), headers={"Vary": "Accept"})
    limit = min(query.limit or _PAGE, MOST_LISTED)
    page = await _part(request, caller, query, query.cursor, limit)
    return Response(_encode(page), media_type=JSON.decode(), headers={"Vary": "Accept"})


async def _lines(
    request: Request, caller: Caller, query: AlertQuery, part: _Part, at_once: int
) -> AsyncIterator[bytes]:
    """Part by part, as fast as they are read. Raises AnswerCutOff for what fails on the way."""
    left = query.limit
    while True:
        if part.alerts:
            yield _encode_lines(part.alerts)
        left = None if left is None else left - len(part.alerts)
        if part.next is None or left == 0:
            return
        most = at_once if left is None else min(at_once, left)
        try:
            part = await _part(request, caller, query, part.next, most)
        except ServiceError as error:
            log.warning("a stream of alerts is cut off", problem=error.detail, caller=caller.name)
            raise AnswerCutOff from None


async def _part(request: Request, caller: Caller, query: AlertQuery, cursor: str | None, limit: int) -> _Part:
    """Raises InvalidRequest, UnknownModel, Overloaded, DeadlineExceeded, LedgerUnavailable."""
    found = await found_events(request, query.filter(anomaly=True), limit, cursor)
    alerts = [Alert.of(event, query.include_records) for event in found.events]
    if query.explain and alerts:
        alerts = await _explained(request, caller, found.events, alerts)
    return _Part(
        list(map(_SHAPES[query.shape], alerts)),
        found.last,
        None if found.stopped_at is None else iso(found.stopped_at),
    )


async def _explained(
    request: Request, caller: Caller, events: list[Event], alerts: list[Alert]
) -> list[Alert]:
    """With the serving model's reasons, where it reads the record."""
    loaded = await model_of(request, alerts[0].model)
    assessed = await assess(loaded, [event.record for event in events], caller.name)
    return [
        msgspec.structs.replace(alert, reasons=one.reasons) if one else alert
        for alert, one in zip(alerts, assessed, strict=True)
    ]


def _wants_lines(query: AlertQuery, accept: str) -> bool:
    if query.format is not None:
        return query.format == "ndjson"
    named = [media.encode("latin-1", "replace") for media in accept.split(",")]
    return any(map(is_lines, named)) and not any(JSON in media for media in named)

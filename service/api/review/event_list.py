"""Kept events by a filter that is a link: as a list, and as a table for a spreadsheet."""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from nearnorm.service.access.keyring import Caller
from nearnorm.service.api.dependencies import needs
from nearnorm.service.api.review.csv_table import csv_table
from nearnorm.service.api.review.kept_query import CURSOR, MOST_LISTED, KeptQuery, found_events
from nearnorm.service.ids import iso
from nearnorm.service.ledger.tables.events.events import Event
from nearnorm.service.ledger.tables.events.search import FoundEvents
from nearnorm.service.records.kept_columns import masked

router = APIRouter(prefix="/events", tags=["feedback"])

MOST_IN_TABLE = 1_000


class EventQuery(KeptQuery):
    anomaly: bool | None = Field(default=None, description="Whether it raised an alert.")


class ListQuery(EventQuery):
    limit: int = Field(default=50, ge=1, le=MOST_LISTED)
    cursor: str | None = Field(default=None, pattern=CURSOR, description="`next` of a page.")


class TableQuery(EventQuery):
    limit: int = Field(default=MOST_IN_TABLE, ge=1, le=MOST_IN_TABLE)
    cursor: str | None = Field(default=None, pattern=CURSOR, description="Of the header Link.")


class ListedEvent(BaseModel):
    """As it was scored; `kept` is masked."""

    event_id: str
    at: str
    id: str | None = None
    model_version: str
    score: float
    percentile: float
    anomaly: bool
    prototype: int
    audit: bool
    probability: float
    record: dict[str, Any]
    kept: dict[str, str] | None = None

    @classmethod
    def of(cls, event: Event) -> "ListedEvent":
        return cls(
            event_id=event.event_id,
            at=iso(event.at),
            id=event.record_id,
            model_version=event.model_version,
            score=event.score,
            percentile=event.percentile,
            anomaly=event.anomaly,
            prototype=event.prototype,
            audit=event.audit,
            probability=event.probability,
            record=event.record,
            kept=event.kept and masked(event.kept),
        )


class EventList(BaseModel):
    """`next` is the cursor of the page after this one. `searched_to`: the search ended here, at its bounds;
    older events may fit, and `next` goes on."""

    events: list[ListedEvent]
    next: str | None = None
    searched_to: str | None = None


class CsvResponse(Response):
    media_type = "text/csv"


_LINK = {"description": "The rest, where there is more.", "schema": {"type": "string"}}


@router.get("", response_model_exclude_none=True)
async def get_events(
    request: Request, _: Annotated[Caller, needs("feedback")], query: Annotated[ListQuery, Query()]
) -> EventList:
    """Kept events that fit all that is asked for, newest first. A page looks at 20,000 events at most."""
    return await listed(request, query)


@router.get(".csv", response_class=CsvResponse, responses={200: {"headers": {"Link": _LINK}}})
async def get_events_table(
    request: Request, _: Annotated[Caller, needs("feedback")], query: Annotated[TableQuery, Query()]
) -> CsvResponse:
    """The same as CSV, a feature a column. What a spreadsheet would take for a formula begins with `'`."""
    found = await _found(request, query)
    answer = CsvResponse(csv_table([_cells(event) for event in found.events]))
    answer.headers["Content-Disposition"] = 'attachment; filename="events.csv"'
    if found.last is not None:
        more = query.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        rest = urlencode({**more, "cursor": found.last})
        answer.headers["Link"] = f'</events.csv?{rest}>; rel="next"'
    return answer


async def listed(request: Request, query: ListQuery) -> EventList:
    """Raises InvalidRequest, UnknownModel."""
    found = await _found(request, query)
    return EventList(
        events=[ListedEvent.of(event) for event in found.events],
        next=found.last,
        searched_to=None if found.stopped_at is None else iso(found.stopped_at),
    )


async def _found(request: Request, query: ListQuery | TableQuery) -> FoundEvents:
    return await found_events(request, query.filter(query.anomaly), query.limit, query.cursor)


def _cells(event: Event) -> dict[str, object]:
    """A row by column; names of features are told apart from ours."""
    own = ListedEvent.of(event).model_dump(exclude={"record", "kept"})
    kept = masked(event.kept or {})
    return {
        **own,
        **{f"record.{name}": value for name, value in event.record.items()},
        **{f"kept.{name}": text for name, text in kept.items()},
    }

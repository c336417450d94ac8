"""Kept events by a filter that is a link: as a list, and as a table for a spreadsheet."""

from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, Field

from nearnorm.service.access.keyring import Caller
from nearnorm.service.api.dependencies import needs, services_of
from nearnorm.service.errors import InvalidRequest
from nearnorm.service.ids import iso
from nearnorm.service.ledger.tables.events.events import Event
from nearnorm.service.ledger.tables.events.search import (
    EventFilter,
    FeatureRange,
    FoundEvents,
    search,
)
from nearnorm.service.records.csv_table import csv_table
from nearnorm.service.records.kept_columns import masked
from nearnorm.service.serving.registry import Registry

router = APIRouter(prefix="/events", tags=["feedback"])

MOST_LISTED = 200
MOST_IN_TABLE = 1_000
_NO_NUL = r"^[^\x00]*$"


class EventQuery(BaseModel):
    """What is left out filters nothing."""

    model: str = Field(default="default")
    id: str | None = Field(default=None, max_length=200, pattern=_NO_NUL, description="The caller's own.")
    since: AwareDatetime | None = Field(default=None, description="Scored at this time or later.")
    until: AwareDatetime | None = Field(default=None, description="Scored before this time.")
    anomaly: bool | None = Field(default=None, description="Whether it raised an alert.")
    audit: bool | None = Field(default=None, description="Whether it is of the random slice.")
    status: Literal["open", "judged"] | None = Field(
        default=None, description="Whether analysts have judged its record; not how."
    )
    prototype: int | None = Field(default=None, ge=0, le=2**31 - 1, description="Its normal group.")
    min_percentile: float | None = Field(default=None, ge=0, le=100)
    max_percentile: float | None = Field(default=None, ge=0, le=100)
    feature: str | None = Field(
        default=None, max_length=1000, description="Goes with `equals`, `at_least`, `at_most`."
    )
    equals: str | None = Field(
        default=None, max_length=1000, description="The feature's value as text; empty: it is missing."
    )
    at_least: float | None = Field(default=None, allow_inf_nan=False)
    at_most: float | None = Field(default=None, allow_inf_nan=False)

    def filter(self) -> EventFilter:
        """Raises InvalidRequest for a feature without a value, or a value without a feature."""
        return EventFilter(
            model=self.model,
            record_id=self.id,
            since=_ms(self.since),
            until=_ms(self.until),
            anomaly=self.anomaly,
            audit=self.audit,
            judged=None if self.status is None else self.status == "judged",
            prototype=self.prototype,
            lowest=self.min_percentile,
            highest=self.max_percentile,
            feature=self._range(),
        )

    def _range(self) -> FeatureRange | None:
        asked = (self.equals, self.at_least, self.at_most)
        if self.feature is None:
            if asked != (None, None, None):
                raise InvalidRequest("feature: name the one that the value is of", field="feature")
            return None
        if asked == (None, None, None):
            raise InvalidRequest("feature: send equals, at_least or at_most with it", field="feature")
        return FeatureRange(self.feature, *asked)


class ListQuery(EventQuery):
    limit: int = Field(default=50, ge=1, le=MOST_LISTED)
    cursor: str | None = Field(default=None, pattern=r"^[0-9A-Z]{26}$", description="`next` of a page.")


class TableQuery(EventQuery):
    limit: int = Field(default=MOST_IN_TABLE, ge=1, le=MOST_IN_TABLE)
    cursor: str | None = Field(default=None, pattern=r"^[0-9A-Z]{26}$", description="Of the header Link.")


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
    registry: Registry = request.app.state.registry
    registry.get(query.model)  # an unknown model is told
    wanted = query.filter()
    return await services_of(request).ledger.seen(
        lambda connection: search(connection, wanted, query.limit, query.cursor)
    )


def _cells(event: Event) -> dict[str, object]:
    """A row by column; names of features are told apart from ours."""
    own = ListedEvent.of(event).model_dump(exclude={"record", "kept"})
    kept = masked(event.kept or {})
    return {
        **own,
        **{f"record.{name}": value for name, value in event.record.items()},
        **{f"kept.{name}": text for name, text in kept.items()},
    }


def _ms(time: datetime | None) -> int | None:
    """Milliseconds as event ids count them, which begin in 1970."""
    return None if time is None else max(0, int(time.timestamp() * 1000))

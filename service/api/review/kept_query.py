"""What the lists of kept events are asked for by, and what of the log fits."""

from datetime import datetime
from typing import Literal

from fastapi import Request
from pydantic import AwareDatetime, BaseModel, Field

from nearnorm.service.api.dependencies import (
    check_model,
    services_of,
)
from nearnorm.service.errors import InvalidRequest
from nearnorm.service.ledger.tables.events.search import (
    EventFilter,
    FeatureRange,
    FoundEvents,
    search,
)

CURSOR = r"^[0-9A-Z]{26}$"
"""An event's id: what is older follows."""
MOST_LISTED = 200
"""Events on a page."""
_NO_NUL = r"^[^\x00]*$"


class KeptQuery(BaseModel):
    """What is left out filters nothing."""

    model: str = Field(default="default")
    id: str | None = Field(default=None, max_length=200, pattern=_NO_NUL, description="The caller's own.")
    since: AwareDatetime | None = Field(default=None, description="Scored at this time or later.")
    until: AwareDatetime | None = Field(default=None, description="Scored before this time.")
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

    def filter(self, anomaly: bool | None) -> EventFilter:
        """Raises InvalidRequest for a feature without a value, or a value without a feature."""
        return EventFilter(
            model=self.model,
            record_id=self.id,
            since=_ms(self.since),
            until=_ms(self.until),
            anomaly=anomaly,
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


async def found_events(request: Request, wanted: EventFilter, limit: int, cursor: str | None) -> FoundEvents:
    """A bounded piece of the log. Raises UnknownModel."""
    check_model(request, wanted.model)  # an unknown model is told
    return await services_of(request).ledger.seen(
        lambda connection: search(connection, wanted, limit, cursor)
    )


def _ms(time: datetime | None) -> int | None:
    """Milliseconds as event ids count them, which begin in 1970."""
    return None if time is None else max(0, int(time.timestamp() * 1000))

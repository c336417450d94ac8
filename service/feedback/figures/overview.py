"""The overview: traffic, alerts and review work, by the hour and by the day."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from msgspec import Struct

from nearnorm.service.ledger.tables.events import traffic
from nearnorm.service.ledger.tables.events.traffic import TrafficHour
from nearnorm.service.ledger.tables.feedback import review_work
from nearnorm.service.ledger.tables.feedback.review_work import HOUR_MS, ReviewHour

DAY = 24
HOURS = 48
MOST_DAYS = 56


class Period(Struct, frozen=True):
    """What happened in the `hours` from `start` (since 1970, UTC) on; no `traffic`: none was counted yet."""

    start: int
    hours: int
    traffic: TrafficHour | None
    work: ReviewHour


class Overview(Struct, frozen=True):
    """The newest hours and days, oldest first, the last ones still going on; `total` is of all the days."""

    hours: Sequence[Period]
    days: Sequence[Period]
    total: Period


def read(connection: sa.Connection, model: str, days: int, now: int) -> Overview:
    """`now` is ms since 1970."""
    end = now // HOUR_MS + 1
    last_day = now // HOUR_MS // DAY * DAY
    first_day = last_day - (days - 1) * DAY
    since = min(first_day, end - HOURS)
    counted = {hour.hour: hour for hour in traffic.by_hour(connection, model, since)}
    worked = review_work.by_hour(connection, model, since)
    return Overview(
        [_period(counted, worked, hour, 1) for hour in range(end - HOURS, end)],
        [_period(counted, worked, day, DAY) for day in range(first_day, end, DAY)],
        _period(counted, worked, first_day, days * DAY),
    )


def _period(
    counted: Mapping[int, TrafficHour], worked: Mapping[int, ReviewHour], start: int, hours: int
) -> Period:
    end = start + hours
    scored = [counted[hour] for hour in range(start, end) if hour in counted]
    work = ReviewHour()
    for hour in range(start, end):
        work = work.plus(worked[hour]) if hour in worked else work
    is_known = end > min(counted, default=end)
    return Period(start, hours, _sum(start, scored) if is_known else None, work)


def _sum(start: int, hours: Sequence[TrafficHour]) -> TrafficHour:
    names = ("rows", "by_score", "by_novelty", "by_label")
    return TrafficHour(start, *(sum(getattr(hour, name) for hour in hours) for name in names))

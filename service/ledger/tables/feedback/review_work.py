"""Review work by the hour: what was said, how long it took, what it found, how far analysts agree.

Each query goes through the labels of its window by their index, newest first, and no others.
"""

from collections.abc import Mapping

import sqlalchemy as sa
from msgspec import Struct

from nearnorm.service.ledger.tables.feedback.labels import ERASED, labels, verdicts
from nearnorm.service.ledger.tables.feedback.quarantine import is_silenced

HOUR_MS = 3_600_000
LONGEST_PAUSE_MS = 10 * 60_000
"""An analyst who says nothing for so long has stopped."""
FIRST_LOOK_MS = 60_000
"""What the first label after such a pause is taken to have cost: nobody knows when its reading began."""


class ReviewHour(Struct, frozen=True):
    """`anomalies` and `normals` are labels that were sent, `retractions` what took some back. `reviewed`
    records were judged for the first time in the window and their verdict stands, `found` of them as
    anomalies. `agreed` is how many of the `compared` records, which several analysts judged, the last of
    them now, have one verdict by all of them. `worked_ms` is analysts' time.
    """

    anomalies: int = 0
    normals: int = 0
    retractions: int = 0
    worked_ms: int = 0
    reviewed: int = 0
    found: int = 0
    compared: int = 0
    agreed: int = 0

    def plus(self, other: "ReviewHour") -> "ReviewHour":
        return ReviewHour(*(getattr(self, name) + getattr(other, name) for name in self.__struct_fields__))


def by_hour(connection: sa.Connection, model: str, hour: int) -> Mapping[int, ReviewHour]:
    """Hours since 1970, from `hour` on, in which somebody said something."""
    window = _window(connection, model, hour * HOUR_MS)
    hours: dict[int, ReviewHour] = {}
    for query, names in (
        (_sent(window), ("anomalies", "normals", "retractions", "worked_ms")),
        (_reviewed(window, model), ("reviewed", "found")),
        (_compared(window), ("compared", "agreed")),
    ):
        for row in connection.execute(query):
            at, *figures = (int(cell) for cell in row)
            found = ReviewHour(**dict(zip(names, figures, strict=True)))
            hours[at] = hours.get(at, ReviewHour()).plus(found)
    return hours


def _window(connection: sa.Connection, model: str, since: int) -> sa.ColumnElement[bool]:
    """Labels were numbered as they came: the newest from before bounds those since then."""
    before = (
        sa.select(labels.c.change)
        .where(labels.c.model == model, labels.c.at < since)
        .order_by(labels.c.change.desc())
        .limit(1)
    )
    last = connection.execute(before).scalar() or 0
    return sa.and_(labels.c.model == model, labels.c.change > last, labels.c.at >= since)


def _sent(window: sa.ColumnElement[bool]) -> sa.Select[tuple[int, ...]]:
    pause = labels.c.at - sa.func.lag(labels.c.at).over(
        partition_by=labels.c.analyst, order_by=(labels.c.at, labels.c.number)
    )
    said = sa.select(labels.c.at, labels.c.label, pause.label("pause")).where(window).subquery()
    goes_on = said.c.pause <= LONGEST_PAUSE_MS  # null, and so false, for the first one
    hour = said.c.at // HOUR_MS
    counts = (sa.func.count().filter(said.c.label == label) for label in ("anomaly", "normal", "retract"))
    worked = sa.func.sum(sa.case((goes_on, said.c.pause), else_=FIRST_LOOK_MS))
    return sa.select(hour, *counts, worked).group_by(hour)


def _reviewed(window: sa.ColumnElement[bool], model: str) -> sa.Select[tuple[int, ...]]:
    first = (
        sa.select(labels.c.digest, sa.func.min(labels.c.at).label("at"))
        .where(window, labels.c.label != "retract", labels.c.digest != ERASED)
        .group_by(labels.c.digest)
        .subquery()
    )
    hour = first.c.at // HOUR_MS
    return (
        sa.select(hour, sa.func.count(), sa.func.count().filter(verdicts.c.verdict == "anomaly"))
        .join(verdicts, sa.and_(verdicts.c.model == model, verdicts.c.digest == first.c.digest))
        .where(verdicts.c.verdict != "none")
        .group_by(hour)
    )


def _compared(window: sa.ColumnElement[bool]) -> sa.Select[tuple[int, ...]]:
    """By the newest label of every analyst on a record, unless taken back, or they are in quarantine."""
    retraction = labels.alias()
    taken_back = sa.exists().where(
        retraction.c.retracts == labels.c.feedback_id,
        ~is_silenced(retraction.c.model, retraction.c.analyst, retraction.c.actor),
    )
    place = sa.func.row_number().over(
        partition_by=(labels.c.digest, labels.c.analyst), order_by=labels.c.number.desc()
    )
    newest = (
        sa.select(
            labels.c.digest,
            labels.c.label,
            labels.c.at,
            taken_back.label("taken_back"),
            place.label("place"),
        )
        .where(
            window,
            labels.c.label != "retract",
            labels.c.digest != ERASED,
            ~is_silenced(labels.c.model, labels.c.analyst, labels.c.actor),
        )
        .subquery()
    )
    several = (
        sa.select(
            sa.func.max(newest.c.at).label("at"),
            (sa.func.min(newest.c.label) == sa.func.max(newest.c.label)).label("agree"),
        )
        .where(newest.c.place == 1, ~newest.c.taken_back)
        .group_by(newest.c.digest)
        .having(sa.func.count() > 1)
        .subquery()
    )
    hour = several.c.at // HOUR_MS
    return sa.select(hour, sa.func.count(), sa.func.count().filter(several.c.agree)).group_by(hour)

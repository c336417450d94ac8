"""How it goes: traffic, alerts, review work and what it finds, over hours and weeks."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from nearnorm.service.access.keyring import Caller
from nearnorm.service.api.dependencies import needs, services_of
from nearnorm.service.api.drift import DriftState, drift_of
from nearnorm.service.feedback.figures import overview
from nearnorm.service.feedback.figures.overview import MOST_DAYS, Overview, Period
from nearnorm.service.ids import iso, now_ms
from nearnorm.service.ledger.tables.feedback.review_work import HOUR_MS
from nearnorm.service.metrics.counters import Metrics

router = APIRouter(tags=["operations"])


class PeriodFigures(BaseModel):
    """`rows` and alerts, in all and by what raised them, are null before traffic was counted.

    `labelled_anomaly`, `labelled_normal` and `retracted` count what was sent. `reviewed` records have a
    verdict that stands and were judged for the first time in what is shown, `found` of them as anomalies.
    `analyst_hours`: pauses of up to ten minutes between an analyst's labels, and a minute for the first label
    after a longer one. `agreement` is the share of the `compared` records, which several analysts judged,
    that all of them judged alike. Shares of nothing are null.
    """

    start: str
    rows: int | None
    alerts: int | None
    by_score: int | None
    by_novelty: int | None
    by_label: int | None
    labelled_anomaly: int
    labelled_normal: int
    retracted: int
    reviewed: int
    found: int
    analyst_hours: float
    found_per_record: float | None
    found_per_hour: float | None
    compared: int
    agreement: float | None

    @classmethod
    def of(cls, period: Period) -> "PeriodFigures":
        scored, work = period.traffic, period.work
        hours = work.worked_ms / HOUR_MS
        return cls(
            start=iso(period.start * HOUR_MS),
            rows=scored.rows if scored else None,
            alerts=scored.raised if scored else None,
            by_score=scored.by_score if scored else None,
            by_novelty=scored.by_novelty if scored else None,
            by_label=scored.by_label if scored else None,
            labelled_anomaly=work.anomalies,
            labelled_normal=work.normals,
            retracted=work.retractions,
            reviewed=work.reviewed,
            found=work.found,
            analyst_hours=round(hours, 4),
            found_per_record=_ratio(work.found, work.reviewed),
            found_per_hour=_ratio(work.found, hours),
            compared=work.compared,
            agreement=_ratio(work.agreed, work.compared),
        )


class ProcessRows(BaseModel):
    """Rows that this process scored since it started, and rows with an error."""

    scored: int
    errors: int


class OverviewFigures(BaseModel):
    """Oldest first; the last hour and the last day are still going on. `total` is of all `days`.

    `drift`, with recall and what values are missing or unknown, and `process` are as of now: they are not
    stored over time. `missing` says what it takes for what is null.
    """

    model: str
    hours: list[PeriodFigures]
    days: list[PeriodFigures]
    total: PeriodFigures
    drift: DriftState
    process: ProcessRows
    missing: list[str]


@router.get("/overview/figures")
async def get_overview(
    request: Request,
    _: Annotated[Caller, needs("feedback")],
    model: str = "default",
    days: Annotated[int, Query(ge=1, le=MOST_DAYS, description="How many days, today included.")] = MOST_DAYS,
) -> OverviewFigures:
    """Rows, alerts, labels, anomalies found per reviewed record and per analyst hour, agreement, recall,
    drift by group and data quality, over 48 hours and up to eight weeks."""
    return await overview_of(request, model, days)


async def overview_of(request: Request, model: str, days: int) -> OverviewFigures:
    """Raises UnknownModel."""
    drift = await drift_of(request, model)
    metrics: Metrics = request.app.state.metrics
    counted = metrics.line(model)
    found = await services_of(request).ledger.seen(lambda c: overview.read(c, model, days, now_ms()))
    return OverviewFigures(
        model=model,
        hours=[PeriodFigures.of(hour) for hour in found.hours],
        days=[PeriodFigures.of(day) for day in found.days],
        total=PeriodFigures.of(found.total),
        drift=drift,
        process=ProcessRows(scored=counted.scored, errors=counted.errors),
        missing=_missing(found, drift),
    )


def _missing(found: Overview, drift: DriftState) -> list[str]:
    """What it takes for the figures that are not known, in sentences."""
    told = []
    if found.days[0].traffic is None:
        told.append("rows and alerts: traffic was not counted for all of these days")
    if not found.total.work.compared:
        told.append("agreement: a record that two analysts judged")
    if not found.total.work.reviewed:
        told.append("anomalies found: a verdict in these days")
    recall = drift.recall
    if recall is None:
        told.append("recall: a confirmed anomaly, and verdicts on records of the random slice")
    elif recall.estimate is None:
        told.append(
            f"recall: {recall.needs:,} more verdicts on records of the random slice, which the queue offers "
            f"as `audit`, and {recall.needs_alerts:,} more on alerts"
        )
    return told


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole else None

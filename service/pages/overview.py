"""The overview's page: figures over hours and weeks as bars, drift by group, data quality."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from fastapi import Query, Request, Response
from msgspec import Struct

from nearnorm.service.api.overview import PeriodFigures, overview_of
from nearnorm.service.feedback.figures.overview import MOST_DAYS
from nearnorm.service.pages.frame.routing import pages
from nearnorm.service.pages.frame.site import page
from nearnorm.service.pages.frame.visitor import Reviewer
from nearnorm.service.pages.pictures.bars import BarPicture, Part, bar_picture

router = pages()

SPANS = {7: "a week", 28: "four weeks", MOST_DAYS: "eight weeks"}
MOST_FEATURES = 20


class Chart(Struct, frozen=True):
    """`parts` by the class that draws each, in words."""

    title: str
    parts: Mapping[str, str]
    picture: BarPicture | None


_CHARTS: tuple[tuple[str, Mapping[str, tuple[str, Part]]], ...] = (
    ("Records scored", {"rows": ("records", lambda one: one.rows)}),
    (
        "Alerts",
        {
            "by-score": ("by score", lambda one: one.by_score),
            "by-novelty": ("as new", lambda one: one.by_novelty),
            "by-label": ("by label", lambda one: one.by_label),
        },
    ),
    (
        "Verdicts given",
        {
            "normal": ("normal", lambda one: one.labelled_normal),
            "anomaly": ("anomaly", lambda one: one.labelled_anomaly),
        },
    ),
    (
        "Records reviewed",
        {
            "found": ("found to be anomalies", lambda one: one.found),
            "rest": ("not", lambda one: one.reviewed - one.found),
        },
    ),
    ("Analyst hours", {"hours": ("hours", lambda one: one.analyst_hours)}),
    ("Anomalies found per analyst hour", {"found": ("anomalies", lambda one: one.found_per_hour)}),
)


@router.get("/overview")
async def get_overview(
    request: Request,
    visitor: Reviewer,
    model: str = "default",
    days: Annotated[int, Query(ge=1, le=MOST_DAYS)] = MOST_DAYS,
) -> Response:
    """As GET /overview/figures."""
    found = await overview_of(request, model, days)
    features = sorted(
        found.drift.features,
        key=lambda one: max(one.missing - one.reference_missing, one.unknown or 0.0),
        reverse=True,
    )
    return await page(
        request,
        "overview.html",
        model=model,
        days=days,
        spans=SPANS,
        found=found,
        features=features[:MOST_FEATURES],
        more=max(len(features) - MOST_FEATURES, 0),
        spells=(
            ("hours", "The last 48 hours", found.hours[::-1], _charts(found.hours)),
            ("days", "By day", found.days[::-1], _charts(found.days)),
        ),
    )


def _charts(periods: Sequence[PeriodFigures]) -> list[Chart]:
    return [
        Chart(
            title,
            {name: words for name, (words, _) in parts.items()},
            bar_picture(periods, {name: part for name, (_, part) in parts.items()}),
        )
        for title, parts in _CHARTS
    ]

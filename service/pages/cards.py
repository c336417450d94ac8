"""A record to review as the page shows it: what it is, why it is strange, where it lies beside its group."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from nearnorm.service.api.review.claims import ClaimedItem
from nearnorm.service.api.review.events import EventView
from nearnorm.service.feedback.queue import Why
from nearnorm.service.pages.pictures.range_bar import RangeBar, range_bar
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.verdict.groups import describe


class ReasonBar(Struct, frozen=True):
    """One reason, and its picture where it has a place on a line. `weight`: 0 to 100, the most."""

    feature: str
    value: Any
    expected: dict[str, Any]
    effect: float
    weight: float
    bar: RangeBar | None


class Card(Struct, frozen=True):
    """A record with its pictures. `why` it is offered, and `until` when it is held: None where it was looked
    up. `percentile`: None where no version could say. `score`: None where it is not the serving version's, as
    others do not compare with its threshold. `group`: how its nearest normal group looks, in words."""

    event_id: str
    id: str | None
    at: str
    why: Why | None
    until: str | None
    said: str | None
    anomaly: bool
    percentile: float | None
    score: float | None
    record: dict[str, Any]
    kept: dict[str, str]
    reasons: list[ReasonBar]
    group: str | None


def cards_of(items: Sequence[ClaimedItem], model: LoadedModel) -> list[Card]:
    """In the order in which they were handed out."""
    core = model.manifest.core
    found = []
    for item in items:
        group = describe(core.features, core.groups, item.prototype)
        found.append(
            Card(
                item.event_id,
                item.id,
                item.at,
                item.why,
                item.claimed_until,
                item.said,
                item.anomaly,
                item.percentile,
                item.score if item.model_version == model.ref.version else None,
                item.record,
                item.kept or {},
                _bars(item.reasons or []),
                group.words if group else None,
            )
        )
    return found


def card_of(event: EventView) -> Card:
    """Of an event that was looked up: by the verdict of now, or of then where none can be given now."""
    verdict = event.verdict.now or event.verdict.then
    return Card(
        event.event_id,
        event.id,
        event.at,
        None,
        None,
        None,
        verdict.anomaly if verdict else False,
        verdict.percentile if verdict else None,
        event.verdict.now.score if event.verdict.now else None,
        event.record,
        event.kept or {},
        _bars(event.reasons or []),
        event.group["words"] if event.group else None,
    )


def _bars(reasons: Sequence[dict[str, Any]]) -> list[ReasonBar]:
    most = max((reason["effect"] for reason in reasons), default=0.0) or 1.0
    return [
        ReasonBar(
            reason["feature"],
            reason["value"],
            reason["expected"],
            reason["effect"],
            round(100 * min(max(reason["effect"] / most, 0.0), 1.0), 1),
            range_bar(reason["value"], reason["expected"]),
        )
        for reason in reasons
    ]

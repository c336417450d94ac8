"""A record to review as the page shows it: what it is, why it is strange, where it lies beside its group."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from nearnorm.service.api.claims import ClaimedItem
from nearnorm.service.pages.range_bar import RangeBar, range_bar
from nearnorm.service.serving.model import LoadedModel


class ReasonBar(Struct, frozen=True):
    """One reason, and its picture where it has a place on a line. `weight`: 0 to 100, the most."""

    feature: str
    value: Any
    expected: dict[str, Any]
    effect: float
    weight: float
    bar: RangeBar | None


class Card(Struct, frozen=True):
    """An item of the queue with its pictures; `group` is how its nearest normal group looks."""

    item: ClaimedItem
    reasons: list[ReasonBar]
    group: dict[str, Any] | None


def cards_of(items: Sequence[ClaimedItem], model: LoadedModel) -> list[Card]:
    """In the order in which they were handed out."""
    return [Card(item, _bars(item.reasons or []), model.explainer.group(item.prototype)) for item in items]


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

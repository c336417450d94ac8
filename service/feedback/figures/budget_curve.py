"""The curve of budgets: what each of some fifty would come to now, from the threshold to what it is worth."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict

from nearnorm.models.conformal import share_of
from nearnorm.models.errors import ConfigError
from nearnorm.service.feedback.figures.operating_curve import Estimate, OperatingPoint, operating_points
from nearnorm.service.ledger.tables.feedback import judged
from nearnorm.service.ledger.tables.feedback.judged import JudgedEvent
from nearnorm.service.verdict import budget, policies
from nearnorm.service.verdict.budget import (
    LEAST_A_WEEK,
    MOST_A_DAY,
    Budget,
    NormalShare,
    PerDay,
    TrafficShare,
)
from nearnorm.service.verdict.policies import InForce
from nearnorm.service.verdict.solve import (
    Ground,
    labelled_alerts,
    seen_traffic,
    threshold_of_normal,
)
from nearnorm.service.verdict.traffic.history import History
from nearnorm.service.verdict.traffic.pace import Forecast, forecast_at, pace, threshold_for_share
from nearnorm.service.verdict.traffic.score_bins import BINS

LEAST, MOST = 0.0005, 0.1
"""Shares between which the positions lie: of the rows of a day, of traffic, or of normal traffic."""
MOST_LABELS = 10_000
"""Verdicts that are read, the newest."""
_STEPS = (1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.5, 2.8, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 6.5, 7.0, 8.0, 9.0)

BudgetKind = Literal["day", "traffic", "normal"]
_WRITTEN: dict[BudgetKind, str] = {
    "day": "{:.9g} a day",
    "traffic": "{:.9g}% of traffic",
    "normal": "{:.9g}% of normal",
}


class Position(Struct, frozen=True):
    """A budget as PUT /policy takes it, and what it would come to. `share` is the share of normal traffic
    that is as high as the threshold; `alerts` those of the next 24 hours."""

    budget: str
    threshold: float
    share: float
    alerts: Forecast | None
    worth: OperatingPoint

    def as_dict(self) -> dict[str, Any]:
        alerts = self.alerts and {name: round(value, 2) for name, value in asdict(self.alerts).items()}
        return {
            "budget": self.budget,
            "threshold": self.threshold,
            "share": round(self.share, 9),
            "alerts": alerts,
            "precision": _rounded(self.worth.precision),
            "recall": _rounded(self.worth.recall),
        }


class BudgetCurve(Struct, frozen=True):
    """`positions` from the fewest alerts to the most; `in_force` is where the service stands now, `at` its
    place among them: of another kind, the one whose threshold is the nearest."""

    by: BudgetKind
    positions: list[Position]
    in_force: Position
    at: int | None
    rows_a_day: float | None
    verdicts: int

    def as_dict(self) -> dict[str, Any]:
        return {
            "by": self.by,
            "points": [position.as_dict() for position in self.positions],
            "in_force": self.in_force.as_dict(),
            "at": self.at,
            "traffic_per_day": self.rows_a_day and round(self.rows_a_day, 1),
            "verdicts": self.verdicts,
            "missing": self.missing(),
        }

    def missing(self) -> list[str]:
        """What it takes for the figures that are not known where the service stands, in sentences."""
        worth, found = self.in_force.worth, []
        if self.in_force.alerts is None:
            found.append("alerts: an hour of traffic, until then nothing is forecast")
        if worth.precision is None:
            found.append(f"precision: {worth.needs_alerts} more verdicts on alerts of the serving version")
        elif worth.precision.estimate is None:
            found.append("precision: verdicts on most of the alerts; its interval is known")
        if worth.recall is None or worth.recall.estimate is None:
            found.append(
                f"recall: {worth.needs_random:,} more verdicts on records of the random slice, which the "
                "queue offers as `audit`" + ("" if worth.recall is None else "; its interval is known")
            )
        return found


def read(
    connection: sa.Connection, ground: Ground, known: InForce | None, by: BudgetKind | None = None
) -> BudgetCurve:
    """What every position comes to now. Without `by` they are alerts a day, where traffic is known.

    `known` is the policy in force as it was last solved, a minute ago at most.
    """
    fits = known is not None and known.model_version == ground.version
    in_force = known if known and fits else policies.current(connection, ground, known)
    _, history = seen_traffic(connection, ground)
    rows_a_day = float(history.volume[:7].mean()) if history.hours else None
    by = by or ("day" if rows_a_day else "normal")
    verdicts = judged.named_by_labels(connection, ground.model, ground.version, MOST_LABELS)
    alerts = labelled_alerts(connection, ground, history) if by == "normal" else []
    texts = _texts(by, ground, rows_a_day, in_force.policy.budget)
    thresholds = [_threshold(ground, budget.parse(text), alerts, history) for text in texts]
    tail = history.tail.sum(axis=0) if len(history.tail) else np.zeros(BINS)
    lowest = [in_force.threshold, *thresholds]
    worth = operating_points(verdicts, tail, in_force.threshold, lowest)
    positions = [
        Position(text, threshold, share_of(threshold, ground.reference), forecast_at(history, threshold), of)
        for text, threshold, of in zip([in_force.policy.budget, *texts], lowest, worth, strict=True)
    ]
    return BudgetCurve(
        by, positions[1:], positions[0], _at(positions[1:], positions[0]), rows_a_day, len(verdicts)
    )


def _texts(by: BudgetKind, ground: Ground, rows_a_day: float | None, now: str) -> list[str]:
    """Budgets in round numbers, ascending, and the one in force among them where it is of this kind."""
    if by == "day":
        if not rows_a_day:
            return []
        low, high = max(LEAST * rows_a_day, LEAST_A_WEEK), min(MOST * rows_a_day, MOST_A_DAY)
    else:
        finest = 1 / (len(ground.reference) + 1) if by == "normal" else 0.0
        low, high = 100 * max(LEAST, finest), 100 * MOST
    numbers = {text: number for number in _round_numbers(low, high) for text in [_WRITTEN[by].format(number)]}
    of_now = _number(by, _read(now))
    if of_now is not None and not any(map(partial(math.isclose, of_now), numbers.values())):
        numbers[now] = of_now
    return sorted(numbers, key=lambda text: numbers[text])


def _read(text: str) -> Budget | None:
    """None for what an older release took and this one refuses: /policy tells its problem."""
    try:
        return budget.parse(text)
    except ConfigError:
        return None


def _at(positions: Sequence[Position], in_force: Position) -> int | None:
    of_now = _read(in_force.budget)
    away = [(_read(one.budget) != of_now, abs(one.threshold - in_force.threshold)) for one in positions]
    return away.index(min(away)) if away else None


def _round_numbers(low: float, high: float) -> list[float]:
    found = [step * 10.0**power for power in range(-3, 8) for step in _STEPS]
    return [number for number in found if low <= number <= high]


def _number(by: BudgetKind, of: Budget | None) -> float | None:
    """What a budget says where it is of this kind."""
    match by, of:
        case "day", PerDay(alerts, "week"):
            return alerts
        case ("traffic", TrafficShare(share)) | ("normal", NormalShare(share)):
            return 100 * share
    return None


def _threshold(ground: Ground, of: Budget, alerts: Sequence[JudgedEvent], history: History) -> float:
    """As PUT /policy would find it; above every score where no traffic is known."""
    lowest: float | None = None
    match of:
        case PerDay(a_day, every):
            paced = pace(history, a_day, every, 0)
            lowest = paced.threshold if paced else None
        case TrafficShare(share):
            lowest = threshold_for_share(history, share)
        case NormalShare(share):
            lowest = threshold_of_normal(ground, share, alerts, history)
    return float(np.float32(lowest)) if lowest is not None else 1.0


def _rounded(of: Estimate | None) -> dict[str, float | None] | None:
    if of is None:
        return None
    return {name: None if value is None else round(value, 4) for name, value in asdict(of).items()}

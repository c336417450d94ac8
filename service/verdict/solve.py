"""From a budget to a threshold: by the reference, by the traffic, or by analysts' verdicts."""

from collections.abc import Sequence, Set
from typing import Any, Self

import numpy as np
import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from nearnorm.models.bundle.manifest import Manifest
from nearnorm.models.conformal import (
    Policy,
    Ranks,
    default_policy,
    lowest_anomaly,
    share_of,
    usable_budget,
)
from nearnorm.models.errors import ConfigError
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.tables.events import traffic
from nearnorm.service.ledger.tables.events.traffic import Counted
from nearnorm.service.ledger.tables.feedback import judged, reference_rows
from nearnorm.service.ledger.tables.feedback.judged import JudgedEvent
from nearnorm.service.ledger.tables.policy import PolicyVersion
from nearnorm.service.verdict import budget, live_labels
from nearnorm.service.verdict.budget import Budget, NormalShare, PerDay, Precision, TrafficShare
from nearnorm.service.verdict.precision import lowest_threshold
from nearnorm.service.verdict.reviewed_reference import reviewed_scores
from nearnorm.service.verdict.traffic.feasible import doubts
from nearnorm.service.verdict.traffic.history import DAY, SKETCH_DAYS, VOLUME_DAYS, History, trailing
from nearnorm.service.verdict.traffic.pace import Forecast, Paced, forecast_at, pace, threshold_for_share

HOUR_MS = 3600 * 1000
WEEK = 7 * DAY


class Ground(Struct, frozen=True):
    """What a verdict of a version stands on: the scores of its reference, ascending, without the anomalies
    that people found there. `line`: which versions share its policy. `known_normal`: it is a sample of rows
    known to be normal."""

    model: str
    version: str
    line: str
    reference: NDArray[np.float32]
    known_normal: bool = False

    @classmethod
    def of(cls, manifest: Manifest, model: str, confirmed: Set[str] = frozenset()) -> Self:
        """A version's, as `model`; `confirmed` are the digests of anomalies in its reference."""
        core = manifest.core
        scores = reviewed_scores(core.reference, confirmed)
        return cls(model, manifest.version, core.features.line, scores, core.reference.known_normal)


class Raised(Struct, frozen=True):
    """Alerts raised in the last hour, day and week: full hours and the current one. By what: of the week."""

    hour: int
    day: int
    week: int
    by_score: int
    by_novelty: int
    by_label: int
    held_back: int


class Solved(Struct, frozen=True):
    """What a budget comes to now. `share` is the share of normal traffic that is as high as the threshold;
    `threshold` the lowest score that alerts, None where the reference decides; from `held_from` to there the
    budget alone holds back. `reviewed` of `reviewable` rows at the top of the reference have a verdict;
    `labelled` verdicts on live alerts tell how much of it is normal."""

    budget: Budget
    share: float
    threshold: float | None
    held_from: float | None
    exceeded: bool
    forecast: Forecast | None
    rows_a_day: float | None
    raised: Raised
    reviewed: int
    reviewable: int
    known_normal: bool
    doubts: Sequence[str] = ()  # what the traffic seen has against the budget
    labelled: int = 0
    problem: str | None = None  # why the budget that was asked for is not what is in force

    def promised(self) -> dict[str, Any]:
        """What the budget says, and what stands behind it."""
        match self.budget:
            case PerDay(alerts, every):
                return {"alerts_a_day": alerts, "as": "the mean of a week" if every == "week" else "each day"}
            case TrafficShare(share):
                return {"share_of_traffic": share}
            case Precision(share):
                return {"precision": share, "confidence": 0.9}
            case NormalShare(share):
                return {"share_of_normal": share, **self._behind_normal()}

    @property
    def expected_alert_rate(self) -> float | None:
        """Of the rows of the next 24 hours. Until traffic is known only a share of normal says anything."""
        if self.forecast is None:
            return self.budget.share if isinstance(self.budget, NormalShare) else None
        return round(self.forecast.mean / self.forecast.rows, 9) if self.forecast.rows else None

    def missing(self) -> str | None:
        """What it takes for the figures that are not known, in a sentence."""
        if self.forecast is not None:
            return None if self.forecast.rows else "traffic: of none nothing is expected"
        of_normal = ", and expected_alert_rate is the budget's own share, of normal traffic alone"
        return "an hour of traffic: until then nothing is forecast" + (
            of_normal if isinstance(self.budget, NormalShare) else ""
        )

    def _behind_normal(self) -> dict[str, Any]:
        if self.known_normal:
            return {"reference": "a sample known to be normal"}
        known = {"reviewed": self.reviewed, "labelled_alerts": self.labelled}
        return {name: count for name, count in known.items() if count} or {"assumes": "a clean reference"}


def solve(connection: sa.Connection, ground: Ground, version: PolicyVersion) -> Solved:
    """Raises ConfigError for a budget that cannot be read or solved."""
    hours, history = seen_traffic(connection, ground)
    wanted = _wanted(ground, version)
    if isinstance(wanted, NormalShare):
        return _of_normal(connection, ground, wanted, hours, history)
    paced = _paced(connection, ground, wanted, version, history)
    if paced is None:
        raise ConfigError(
            f"no traffic has been seen yet, so {version.budget!r} cannot be solved: score records first, or "
            'give a share such as "0.5%"'
        )
    share = share_of(paced.threshold, ground.reference)
    return _solved(connection, ground, wanted, share, paced, hours, history)


def by_default(connection: sa.Connection, ground: Ground) -> Solved:
    """What is in force where a budget cannot be solved: the default share."""
    wanted = NormalShare(default_policy(len(ground.reference)).budget)
    hours, history = seen_traffic(connection, ground)
    return _solved(connection, ground, wanted, wanted.share, None, hours, history)


def _of_normal(
    connection: sa.Connection,
    ground: Ground,
    wanted: NormalShare,
    hours: Sequence[Counted],
    history: History,
) -> Solved:
    """By the reference, and by what verdicts on live alerts say of it where nobody knows it to be normal."""
    Ranks(ground.reference, Policy(wanted.share))  # refuses what is finer than the reference
    alerts = labelled_alerts(connection, ground, history)
    if not alerts:
        return _solved(connection, ground, wanted, wanted.share, None, hours, history)
    lowest = threshold_of_normal(ground, wanted.share, alerts, history)
    share = share_of(lowest, ground.reference)
    found = _solved(connection, ground, wanted, share, Paced(lowest, lowest, False), hours, history)
    return replace(found, labelled=len(alerts))


def labelled_alerts(connection: sa.Connection, ground: Ground, history: History) -> list[JudgedEvent]:
    """The verdicts on live alerts that tell how much of the reference is normal; none where they do not."""
    if ground.known_normal or not len(history.tail):
        return []
    return live_labels.usable(judged.named_by_labels(connection, ground.model, ground.version))


def threshold_of_normal(
    ground: Ground, share: float, alerts: Sequence[JudgedEvent], history: History
) -> float:
    """The lowest score that is among a share of normal traffic, which the reference is fine enough for."""
    if not alerts:
        return lowest_anomaly(ground.reference, share)
    return live_labels.lowest_threshold(ground.reference, alerts, history.tail.sum(axis=0), share)


def _paced(
    connection: sa.Connection,
    ground: Ground,
    wanted: PerDay | TrafficShare | Precision,
    version: PolicyVersion,
    history: History,
) -> Paced | None:
    """None: it takes traffic, and there was none."""
    match wanted:
        case PerDay(alerts, every):
            return pace(history, alerts, every, int((now_ms() - version.at) // (DAY * HOUR_MS)))
        case TrafficShare(share):
            lowest = threshold_for_share(history, share)
            return None if lowest is None else Paced(lowest, lowest, False)
        case Precision(share):
            lowest = lowest_threshold(judged.scored_by(connection, ground.model, ground.version), share)
            return Paced(lowest, lowest, False)


def _solved(
    connection: sa.Connection,
    ground: Ground,
    wanted: Budget,
    share: float,
    paced: Paced | None,
    hours: Sequence[Counted],
    history: History,
) -> Solved:
    usable = usable_budget(share, len(ground.reference))
    lowest = paced.threshold if paced else lowest_anomaly(ground.reference, usable)
    review = reference_rows.progress(connection, ground.model, ground.version)
    return Solved(
        wanted,
        share,
        paced.threshold if paced else None,
        paced.base if paced and paced.base < paced.threshold else None,
        paced is not None and paced.exceeded,
        forecast_at(history, lowest),
        float(history.volume[:7].mean()) if history.hours else None,
        _raised(hours, now_ms() // HOUR_MS),
        review.judged,
        review.rows,
        ground.known_normal,
        _doubts(wanted, paced, history),
    )


def _doubts(wanted: Budget, paced: Paced | None, history: History) -> list[str]:
    match wanted, paced:
        case PerDay(alerts), Paced(lowest):
            return doubts(history, alerts, lowest)
        case TrafficShare(share), Paced(lowest) if len(history.volume):
            return doubts(history, share * float(history.volume[:7].mean()), lowest)
    return []


def _wanted(ground: Ground, version: PolicyVersion) -> Budget:
    if version.version:
        return budget.parse(version.budget)
    return NormalShare(default_policy(len(ground.reference)).budget)


def seen_traffic(connection: sa.Connection, ground: Ground) -> tuple[list[Counted], History]:
    """What the last weeks brought, by the hour and by trailing days."""
    now = now_ms() // HOUR_MS
    since, scored = now - VOLUME_DAYS * DAY, now - SKETCH_DAYS * DAY
    hours = traffic.since(connection, ground.model, ground.version, since, scored)
    return hours, trailing(hours, now)


def _raised(hours: Sequence[Counted], now: int) -> Raised:
    def within(back: int) -> list[Counted]:
        return [hour for hour in hours if hour.hour >= now - back]

    week = within(WEEK)
    return Raised(
        sum(hour.raised for hour in within(1)),
        sum(hour.raised for hour in within(DAY)),
        sum(hour.raised for hour in week),
        sum(hour.by_score for hour in week),
        sum(hour.by_novelty for hour in week),
        sum(hour.by_label for hour in week),
        sum(hour.held_back for hour in week),
    )

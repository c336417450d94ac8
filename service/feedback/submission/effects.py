"""Before saving: what labels would do, found by storing them in a transaction that is undone."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from msgspec import Struct

from nearnorm.models.bundle.manifest import Manifest
from nearnorm.models.conformal import usable_budget
from nearnorm.service.feedback.submission.request import Submission
from nearnorm.service.feedback.submission.resolve import Bound
from nearnorm.service.feedback.submission.submit import Accepted, Statements
from nearnorm.service.ids import first_id_at, now_ms
from nearnorm.service.ledger.label_history import LabelHistory
from nearnorm.service.ledger.tables.events import events
from nearnorm.service.ledger.tables.events.events import EqualEvents
from nearnorm.service.ledger.tables.events.traffic import Counted
from nearnorm.service.ledger.tables.feedback import claims, labels, quarantine
from nearnorm.service.ledger.tables.feedback.claims import Holder
from nearnorm.service.ledger.tables.feedback.judged import JudgedEvent
from nearnorm.service.verdict.budget import NormalShare, Precision
from nearnorm.service.verdict.policies import InForce
from nearnorm.service.verdict.solve import (
    HOUR_MS,
    WEEK,
    Ground,
    labelled_alerts,
    seen_traffic,
    threshold_of_normal,
)
from nearnorm.service.verdict.traffic.history import History
from nearnorm.service.verdict.traffic.score_bins import BINS, EDGES, bins_of

SOLVED_LATER = "alerts: a budget of precision is solved anew within a minute of the label"
TRAFFIC_SECONDS = 60.0
_WEEK_MS = WEEK * HOUR_MS


class Alerts(Struct, frozen=True):
    """Of the rows of the last week, by score: how many raised an alert, and how many `more` and `fewer` would
    by the threshold as it would be. `threshold` is that and the one before it."""

    raised: int
    more: int
    fewer: int
    threshold: tuple[float, float]


class TrafficReading(Struct, frozen=True):
    """What a version has seen: `week` has its scores by bin [BINS], of which `raised` alerted; read `at`
    (monotonic)."""

    version: str
    history: History
    week: np.ndarray
    raised: int
    at: float


class KnownTraffic:
    """By model, as old as a minute: to read it takes longer than all the rest."""

    def __init__(self) -> None:
        self._known: dict[str, TrafficReading] = {}

    def read(self, connection: sa.Connection, ground: Ground) -> TrafficReading:
        known, now = self._known.get(ground.model), time.monotonic()
        if known and known.version == ground.version and now - known.at < TRAFFIC_SECONDS:
            return known
        hours, history = seen_traffic(connection, ground)
        since = now_ms() // HOUR_MS - WEEK
        week = [hour for hour in hours if hour.hour >= since]
        raised = sum(hour.by_score for hour in week)
        found = TrafficReading(ground.version, history, _scores(week), raised, now)
        self._known[ground.model] = found
        return found


class Basis(Struct, frozen=True):
    """What a model's thresholds stand on before anything is said. `confirmed` are the digests of anomalies in
    its reference, `alerts` the verdicts on live alerts that weigh it."""

    manifest: Manifest
    model: str
    in_force: InForce
    confirmed: frozenset[str]
    alerts: list[JudgedEvent]
    traffic: TrafficReading

    @property
    def ground(self) -> Ground:
        return Ground.of(self.manifest, self.model, self.confirmed)


class Effects(Struct, frozen=True):
    """What statements would do. `judged`, `held` and `second_opinion` are indexes of items: whose record has
    a verdict that stands already, is held by another analyst, and whose label would wait. `leave` and `back`
    are rows of the reference; `equal` kept events of the last week with the same values."""

    records: int
    judged: list[int]
    held: list[int]
    second_opinion: list[int]
    leave: int
    back: int
    alerts: Alerts | None
    equal: EqualEvents
    retraining: dict[str, Any]
    warnings: list[str]

    def as_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "records": self.records,
            "judged": self.judged,
            "held": self.held,
            "second_opinion": self.second_opinion,
            "reference": {"leave": self.leave, "back": self.back},
            "alerts": None,
            "equal": {"events": self.equal.events, "alerts": self.equal.alerts},
            "retraining": self.retraining,
        }
        if self.alerts is None:
            found["missing"] = SOLVED_LATER
        else:
            now, then = self.alerts.threshold
            found["alerts"] = {
                "raised": self.alerts.raised,
                "more": self.alerts.more,
                "fewer": self.alerts.fewer,
                "threshold": {"now": now, "then": then},
            }
        return found | ({"warnings": self.warnings} if self.warnings else {})


def basis(
    connection: sa.Connection, manifest: Manifest, model: str, in_force: InForce, known: KnownTraffic
) -> Basis:
    """In a read transaction of its own, so that nobody waits for it."""
    confirmed = labels.anomalies(connection, model, _reviewable(manifest))
    ground = Ground.of(manifest, model, confirmed)
    traffic = known.read(connection, ground)
    of_normal = isinstance(in_force.solved.budget, NormalShare)
    alerts = labelled_alerts(connection, ground, traffic.history) if of_normal else []
    return Basis(manifest, model, in_force, confirmed, alerts, traffic)


def held_by_others(connection: sa.Connection, statements: Statements) -> list[int]:
    """The items whose records somebody else holds, before the statements end that."""
    now, found = now_ms(), []
    by_holder: dict[Holder, dict[str, list[int]]] = {}
    for index, one in enumerate(statements.bound):
        own = by_holder.setdefault(Holder(one.label.actor, one.label.analyst), {})
        own.setdefault(one.label.digest, []).append(index)
    for holder, own in by_holder.items():
        model = statements.bound[0].label.model
        for digest in claims.held_by_others(connection, model, sorted(own), holder, now):
            found += own[digest]
    return sorted(found)


def effects(
    connection: sa.Connection,
    sent: Submission,
    statements: Statements,
    held: list[int],
    accepted: Accepted,
    on: Basis,
) -> Effects:
    """What came of statements that were just written in this transaction."""
    confirmed = labels.anomalies(connection, on.model, _reviewable(on.manifest))
    bound = statements.bound
    digests = sorted({one.label.digest for one in bound})
    silenced = quarantine.silenced(connection, sent.model)
    nothing = LabelHistory([], silenced)
    return Effects(
        len(digests),
        [i for i, one in enumerate(bound) if statements.before.get(one.label.digest, nothing).standing],
        held,
        _waiting(bound, accepted),
        _rows(on.manifest, confirmed - on.confirmed),
        _rows(on.manifest, on.confirmed - confirmed),
        _alerts(connection, confirmed, on),
        events.equal_to(connection, sent.model, digests, first_id_at(now_ms() - _WEEK_MS)),
        _until_job(accepted.answer["retraining"]),
        accepted.answer.get("warnings", []),
    )


def _waiting(bound: Sequence[Bound], accepted: Accepted) -> list[int]:
    return [
        index
        for index, one in enumerate(bound)
        if one.label.label != "retract" and one.label.digest in accepted.waiting
    ]


def _until_job(retraining: dict[str, Any]) -> dict[str, Any]:
    """How labels would stand. `left`: how many more start a job; 0: these do, or one waits already."""
    left = max(retraining["triggers_at"] - retraining["new_labels"], 0)
    starts = retraining.pop("job_id", None) is not None
    return {**retraining, "left": 0 if starts else left}


def _alerts(connection: sa.Connection, confirmed: frozenset[str], on: Basis) -> Alerts | None:
    budget, now = on.in_force.solved.budget, on.in_force.threshold
    if isinstance(budget, Precision):
        return None
    then = now
    if isinstance(budget, NormalShare):
        ground = Ground.of(on.manifest, on.model, confirmed)
        alerts = labelled_alerts(connection, ground, on.traffic.history)
        if confirmed != on.confirmed or alerts != on.alerts:
            now = _of_normal(on.ground, budget, on.alerts, on.traffic.history)
            then = _of_normal(ground, budget, alerts, on.traffic.history)
    change = _at_least(on.traffic.week, then) - _at_least(on.traffic.week, now)
    return Alerts(on.traffic.raised, max(change, 0), max(-change, 0), (now, then))


def _of_normal(ground: Ground, budget: NormalShare, alerts: Sequence[JudgedEvent], history: History) -> float:
    share = usable_budget(budget.share, len(ground.reference))
    return float(np.float32(threshold_of_normal(ground, share, alerts, history)))


def _scores(hours: Sequence[Counted]) -> np.ndarray:
    found = np.zeros(BINS)
    for hour in hours:
        for place, rows in hour.bins.items():
            found[place] += rows
    return found


def _at_least(week: np.ndarray, threshold: float) -> int:
    """How many rows of the week score as high: of the threshold's own bin the part above it."""
    (place,) = bins_of(np.array([threshold], np.float32)).tolist()
    low, high = float(EDGES[place]), float(EDGES[place + 1]) if place + 1 < BINS else 1.0
    part = min(max((high - threshold) / (high - low), 0.0), 1.0) if high > low else 1.0
    return round(float(week[place + 1 :].sum()) + part * float(week[place]))


def _reviewable(manifest: Manifest) -> list[str]:
    return [row.digest for row in manifest.core.reference.review]


def _rows(manifest: Manifest, digests: frozenset[str]) -> int:
    return sum(row.digest in digests for row in manifest.core.reference.review)

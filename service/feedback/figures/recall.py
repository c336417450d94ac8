"""Estimated recall: which share of the anomalies in all traffic the serving version alerted on.

Alerts and the rest are strata. In each the highest events, where nearly all are judged, are a census. Below,
only labels of rows that were drawn at random count (the audit slice, named by their event), in bands of rank
weighted by their size: whoever labels what lies near the threshold knows more of that band, and nothing of
the others. Anomalies are summed with the rows of traffic that each stands for, with a gamma interval for such
sums (Fay and Feuer 1997, with the mean weight). It is shown when the random labels are as many as the design
needs.
"""

import math
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa
from msgspec import Struct
from numpy.typing import NDArray

from nearnorm.service.ledger.tables.events import retention
from nearnorm.service.ledger.tables.events.events import events
from nearnorm.service.ledger.tables.feedback import labels
from nearnorm.service.ledger.tables.feedback.labels import verdicts

NEARLY_ALL = 0.95
"""The share of a stratum's highest events that are judged, where they are taken for a census."""
BAND = 8
"""Labels in a band of rank; fewer in the last."""
ANOMALIES = 40
"""So many anomalies should the random labels hold: their number follows from how frequent anomalies are, and
not from how many of them are alerted on."""
FEWEST, MOST = 500, 6_000
"""Random labels needed, whatever the prevalence."""
FEWEST_ALERTS = 5
"""Random labels on alerts, where those are no census."""
_DRAWS = 4_000

Floats = NDArray[np.float64]


class Cells(NamedTuple):
    """Kept events by verdict and percentile: whether they alerted [C], their percentile [C], and of all, of
    the judged and anomalous, and of the random labels and anomalies among those, [C, 5] each: how many, the
    rows of traffic they stand for, and the sum of the squares of that."""

    alert: NDArray[np.bool_]
    percentile: Floats
    events: Floats
    rows: Floats
    squares: Floats


KEPT, JUDGED, ANOMALOUS, DRAWN, DRAWN_ANOMALOUS = range(5)


class Recall(Struct, frozen=True):
    """An estimate of a version's recall with its 95% interval, on `labelled` events of which `anomalies` are.

    `random_labels` is how many random labels of one weight would tell as much; `needs` are so many more, and
    `needs_alerts` so many verdicts on alerts, until it may be shown. Where nothing can be said, it is 0 to 1.
    """

    version: str
    estimate: float
    low: float
    high: float
    labelled: int
    anomalies: int
    random_labels: int
    needs: int
    needs_alerts: int

    @property
    def shown(self) -> bool:
        return not (self.needs or self.needs_alerts)


class AnomalySum(NamedTuple):
    """Anomalies of some cells: the rows of traffic that they stand for, and the variance of that.

    Labels speak for `covered` rows; `leverage` is the sum, over these, of how many rows one label speaks for.
    None speak for the `unknown` rows.
    """

    rows: float = 0.0
    variance: float = 0.0
    covered: float = 0.0
    leverage: float = 0.0
    unknown: float = 0.0

    def plus(self, other: "AnomalySum") -> "AnomalySum":
        return AnomalySum(*(a + b for a, b in zip(self, other, strict=True)))

    @property
    def share(self) -> float:
        return self.rows / self.covered if self.covered else 1.0


def estimate(cells: Cells, version: str) -> Recall:
    """From the kept events of that version."""
    found, missed = (_sum(cells, cells.alert == alert) for alert in (True, False))
    judged, anomalies = (int(cells.events[:, column].sum()) for column in (JUDGED, ANOMALOUS))
    point, low, high, effective, needed = 0.5, 0.0, 1.0, 0, MOST
    if missed.covered and not missed.unknown:
        point, low, high = interval(found, missed)
        effective = int(missed.covered**2 / missed.leverage)
        needed = random_labels_needed((found.rows + missed.rows) / float(cells.rows[:, KEPT].sum()))
    needs = max(needed - effective, 0)
    return Recall(version, point, low, high, judged, anomalies, effective, needs, _alerts_needed(cells))


def random_labels_needed(prevalence: float) -> int:
    """How many random labels an estimate takes where this share of all rows are anomalies."""
    return min(MOST, max(FEWEST, math.ceil(ANOMALIES / prevalence))) if prevalence else MOST


def _sum(cells: Cells, which: NDArray[np.bool_]) -> AnomalySum:
    """Of a stratum: by all verdicts as far down as they are a census, below by the random ones."""
    order = np.flatnonzero(which)
    order = order[np.argsort(-cells.percentile[order], kind="stable")]
    alert, percentile, count, rows, squares = cells
    ordered = Cells(alert[order], percentile[order], count[order], rows[order], squares[order])
    cut = _census(ordered)
    return _banded(ordered, slice(cut), JUDGED, ANOMALOUS).plus(
        _banded(ordered, slice(cut, None), DRAWN, DRAWN_ANOMALOUS)
    )


def _census(ordered: Cells) -> int:
    """How many cells, from the highest, hold what was nearly all judged."""
    kept, judged = np.cumsum(ordered.events[:, [KEPT, JUDGED]], 0).T
    return int(np.flatnonzero(judged >= NEARLY_ALL * kept).max(initial=-1)) + 1


def _banded(ordered: Cells, part: slice, labelled: int, anomalous: int) -> AnomalySum:
    """By labels that are as good as drawn at random within a band of rank."""
    starts = _bands(ordered.events[part, labelled])
    if not ordered.events[part, labelled].any():
        return AnomalySum(unknown=float(ordered.rows[part, KEPT].sum()))
    rows, squares = (np.add.reduceat(sums[part], starts) for sums in (ordered.rows, ordered.squares))
    factors = rows[:, KEPT] / rows[:, labelled]
    shares = rows[:, anomalous] / rows[:, labelled]
    certain = rows[:, KEPT] / squares[:, KEPT]  # 1 where all rows of a band were kept: its size is known
    return AnomalySum(
        float(rows[:, KEPT] @ shares),
        float(factors**2 @ (squares[:, anomalous] * (1 - shares * certain))),
        float(rows[:, KEPT].sum()),
        float(factors**2 @ squares[:, labelled]),
    )


def _bands(labelled: Floats) -> NDArray[np.intp]:
    """Where bands begin in cells with so many labels each [C]; cells without any at the end join the last."""
    starts, held = [0], 0.0
    for place, count in enumerate(labelled.tolist()):
        held += count
        if held >= BAND:
            starts.append(place + 1)
            held = 0.0
    return np.array(starts if held else starts[:-1] or [0], np.intp)


def interval(found: AnomalySum, missed: AnomalySum) -> tuple[float, float, float]:
    """The point and the ends (95%). What nobody looked at may be all normal, or like what was found."""
    rng = np.random.default_rng(0)  # the same labels, the same interval
    guessed, maybe_missed = found.unknown * found.share, missed.unknown * found.share
    few, many = _draws(found, rng)
    missed_few, missed_many = _draws(missed, rng)
    low = np.quantile(_ratio(few, missed_many + maybe_missed), 0.025)
    high = np.quantile(_ratio(many + guessed, missed_few), 0.975)
    point = float(_ratio(np.array(found.rows + guessed / 2), np.array(missed.rows + maybe_missed / 2)))
    return point, min(float(low), point), max(float(high), point)


def _ratio(found: Floats, missed: Floats) -> Floats:
    total = found + missed
    ratio: Floats = np.divide(found, total, out=np.full(total.shape, 0.5), where=total > 0)
    return ratio


def _draws(part: AnomalySum, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Draws [D] of how many anomalies there are, for the lower and the upper end."""
    weight = part.leverage / part.covered if part.covered else 1.0
    return _gamma(part.rows, part.variance, rng), _gamma(part.rows + weight, part.variance + weight**2, rng)


def _gamma(mean: float, variance: float, rng: np.random.Generator) -> Floats:
    if not variance:  # none, or all are anomalies
        return np.full(_DRAWS, mean)
    return rng.gamma(mean**2 / variance, variance / mean, _DRAWS)


def _alerts_needed(cells: Cells) -> int:
    """How many more alerts have to be judged: nearly all, unless a few of the random slice are."""
    alerts = cells.events[cells.alert].sum(0)
    missing = math.ceil(NEARLY_ALL * alerts[KEPT]) - int(alerts[JUDGED])
    return max(missing, 0) if alerts[DRAWN] < FEWEST_ALERTS else 0


def read(connection: sa.Connection, model: str, version: str) -> Recall | None:
    """The estimate from the kept events of a version and the verdicts that stand; None: no anomaly was found.

    Where a caller's share was full, from those since then: alerts outlive the rest. Of labels on the random
    slice those count as random that name an event: reports of what was missed name the record.
    """
    found = [verdicts.c.model == model, verdicts.c.verdict == "anomaly"]
    if not connection.execute(sa.select(sa.exists().where(*found))).scalar():
        return None  # without going through all events
    judged = verdicts.c.verdict.in_(("anomaly", "normal"))
    anomalous = verdicts.c.verdict == "anomaly"
    statements = labels.labels
    drawn = sa.and_(
        judged,
        events.c.audit,
        statements.c.event_id.is_not(None),
        sa.func.coalesce(statements.c.named_by, "event_id") == "event_id",
    )
    which = (sa.true(), judged, anomalous, drawn, sa.and_(drawn, anomalous))
    rows = 1.0 / events.c.probability
    sums = [
        sa.func.sum(sa.case((one, weight), else_=0.0)) for weight in (1.0, rows, rows * rows) for one in which
    ]
    query = (
        sa.select(events.c.anomaly, events.c.percentile, *sums)
        .select_from(
            events.outerjoin(
                verdicts, sa.and_(verdicts.c.model == events.c.model, verdicts.c.digest == events.c.digest)
            ).outerjoin(statements, statements.c.feedback_id == verdicts.c.feedback_id)
        )
        .where(events.c.model == model, events.c.model_version == version, retention.is_complete(connection))
        .group_by(events.c.anomaly, events.c.percentile)
    )
    cells = np.array(connection.execute(query).all(), float).reshape(-1, 2 + len(sums))
    if not cells[:, 2 + ANOMALOUS].any():
        return None
    counted = cells[:, 2:].reshape(-1, 3, len(which))
    return estimate(
        Cells(cells[:, 0] == 1, cells[:, 1], counted[:, 0], counted[:, 1], counted[:, 2]), version
    )

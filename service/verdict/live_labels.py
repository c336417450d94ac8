"""What verdicts on live alerts say of the reference: how many of its highest rows are normal, at most. Pure.

Where the alerts of a range of score turn out to be anomalies, so are the reference rows of that range that
nobody has looked at. Each label speaks for the rows from the one above it down to its own score: for as many
as the reference has there, or as live traffic has where that is more, so that more anomalies than the
reference has take nothing from it. The normals among them are summed with an upper bound (gamma, Fay and
Feuer 1997, with the mean weight); below the lowest label every row counts as normal.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nearnorm.models.conformal import lowest_anomaly
from nearnorm.service.ledger.tables.feedback.judged import JudgedEvent
from nearnorm.service.verdict.traffic.score_bins import bins_of

FEWEST = 10
"""Verdicts on alerts that change anything."""
A_NORMAL_IN = 40
"""Verdicts of which one is "normal": who reports only what is bad does not say what share of it is."""
MOST = 2.0
"""Times the budget that the threshold may be at among the reference as it is, whatever the labels say: so
much more than was promised is flagged where they lie and the reference is clean."""
_Z = 0.8416
"""Of a one-sided bound of 80%."""

Floats = NDArray[np.float64]


def usable(events: Sequence[JudgedEvent]) -> list[JudgedEvent]:
    """The alerts among them, by which the reference is weighed; none where they are too few or one-sided."""
    alerts = [event for event in events if event.alerted]
    normals = sum(not event.anomaly for event in events)
    return alerts if len(alerts) >= FEWEST and normals * A_NORMAL_IN >= len(events) else []


def lowest_threshold(
    reference: NDArray[np.float32], alerts: Sequence[JudgedEvent], tail: Floats, budget: float
) -> float:
    """The lowest score that is among `budget` of the normal rows of `reference`, sorted ascending.

    `alerts` are `usable` ones, `tail` [BINS] the rows of live traffic that score at least as high as each
    bin. Between what the reference says as it is for `budget`, and for MOST times as much.
    """
    most = lowest_anomaly(reference, budget)
    least = lowest_anomaly(reference, min(MOST * budget, 1.0))
    normals = _most_normals(reference, alerts, tail)
    rows = len(reference)
    gone = float((np.arange(rows, 0, -1) - normals).max())
    within = np.append(1.0 + normals, 1.0) <= budget * (1.0 + rows - gone)
    first = int(within.argmax())
    above = np.nextafter(reference[first - 1], np.float32(np.inf)) if first else np.float32(0.0)
    return min(max(float(above), least), most) if within.any() else most


def _most_normals(reference: NDArray[np.float32], alerts: Sequence[JudgedEvent], tail: Floats) -> Floats:
    """[R]: how many of the rows from each one upwards are normal, at most."""
    rows = len(reference)
    ordered = sorted(alerts, key=lambda event: -event.score)
    scores = np.array([event.score for event in ordered], np.float32)
    normal = np.array([not event.anomaly for event in ordered])
    below = reference.searchsorted(scores, side="left")
    own = np.diff(rows - below, prepend=0)
    live = np.diff(tail[bins_of(scores)], prepend=0.0) * rows / max(float(tail[0]), 1.0)
    weight = np.maximum(own, live)
    most = _upper_bounds(weight, normal)
    upwards = np.arange(rows, 0, -1).astype(np.float64)
    heard = len(scores) - scores[::-1].searchsorted(reference, side="left")  # labels from each row upwards
    last = np.maximum(heard, 1) - 1
    bounded = most[last] + (below[last] - np.arange(rows))
    found = np.where(heard >= FEWEST, np.minimum(bounded, upwards), upwards)
    return np.asarray(np.maximum.accumulate(found[::-1])[::-1])


def _upper_bounds(weight: Floats, normal: NDArray[np.bool_]) -> Floats:
    """[L]: of the normals that the labels stand for, from the first up to each one."""
    total, squares = np.cumsum(weight), np.cumsum(weight**2)
    one_more = np.divide(squares, total, out=np.zeros_like(total), where=total > 0)
    mean = np.cumsum(weight * normal) + one_more
    variance = np.cumsum(weight**2 * normal) + one_more**2
    shape = np.divide(mean**2, variance, out=np.ones_like(mean), where=variance > 0)
    return np.asarray(mean * (1 - 1 / (9 * shape) + _Z / (3 * np.sqrt(shape))) ** 3)  # Wilson and Hilferty

"""Precision and recall at each threshold, by the verdicts on logged events. Pure.

Verdicts say which share of a band of scores is anomalous, the sketch of the traffic how many rows the band
has. From the threshold in force upwards every verdict counts, as analysts go through the alerts from the
top; below it only those on the random slice do, which speak for all rows there.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from nearnorm.service.feedback.figures.recall import BAND, AnomalySum, interval, random_labels_needed
from nearnorm.service.ledger.tables.feedback.judged import JudgedEvent
from nearnorm.service.verdict.traffic.score_bins import BINS, EDGES, bins_of

FEWEST = 10
"""Verdicts of one weight on the rows above a threshold, before a precision is named."""
_Z = 1.96
"""Of a 95% interval."""

Floats = NDArray[np.float64]


class Estimate(Struct, frozen=True):
    """With its 95% interval. `estimate` is None where only the interval is known well enough."""

    estimate: float | None
    low: float
    high: float


class OperatingPoint(Struct, frozen=True):
    """What a threshold would be worth. None: nothing is known. `needs_alerts` and `needs_random` are so many
    more verdicts, on alerts and on the random slice, until precision and recall are named."""

    precision: Estimate | None
    recall: Estimate | None
    needs_alerts: int
    needs_random: int


class _Bands(NamedTuple):
    """Bands of scores [B]: the bins `low` up to before `high`, and of the verdicts there the share of
    anomalies, how many of one weight they are worth, and the variance of the share."""

    low: NDArray[np.intp]
    high: NDArray[np.intp]
    share: Floats
    worth: Floats
    variance: Floats


def operating_points(
    judged: Sequence[JudgedEvent], tail: Floats, in_force: float, thresholds: Sequence[float]
) -> list[OperatingPoint]:
    """For each of `thresholds`, the lowest scores that alert.

    `tail` [BINS] are the rows of traffic that score at least as high as each bin; `in_force` is the
    threshold by which analysts got to see alerts.
    """
    line = int(EDGES.searchsorted(np.float32(in_force), side="left"))
    rows = np.append(tail, 0.0)
    above, below = _bands(judged, line)
    known_to = int(above.low.min(initial=BINS))
    bands = _Bands(*(np.concatenate(pair) for pair in zip(above, below, strict=True)))
    found = []
    for threshold in thresholds:
        bin_ = min(int(EDGES.searchsorted(np.float32(threshold), side="left")), BINS)
        alerts = _sum(bands, rows, bin_, BINS)
        missed = _sum(bands, rows, 0, bin_)
        # of what lies between the lowest judged alert and the line nobody knows; below it, where no
        # verdict was drawn
        unknown_from = line if len(below.low) else 0
        unknown = float(rows[max(bin_, unknown_from)] - rows[max(bin_, known_to)])
        rest = float(rows[unknown_from] - rows[known_to]) - unknown
        found.append(_point(alerts._replace(unknown=unknown), missed._replace(unknown=rest), rows, below))
    return found


def _point(found: AnomalySum, missed: AnomalySum, rows: Floats, below: _Bands) -> OperatingPoint:
    judged = found.covered**2 / found.leverage if found.leverage else 0.0
    precision = recall = None
    needs_alerts, needs_random = max(math.ceil(FEWEST - judged), 0), 0
    if not needs_alerts:
        precision = _precision(found, judged)
    if len(below.low) and not needs_alerts:
        drawn = missed.covered**2 / missed.leverage if missed.leverage else 0.0
        prevalence = (found.rows + missed.rows) / max(float(rows[0]), 1.0)
        needs_random = max(random_labels_needed(prevalence) - int(drawn), 0)
        estimate, low, high = interval(found, missed)
        recall = Estimate(None if needs_random else estimate, low, high)
    elif not len(below.low):
        needs_random = random_labels_needed(found.rows / max(float(rows[0]), 1.0))
    return OperatingPoint(precision, recall, needs_alerts, needs_random)


def _precision(found: AnomalySum, judged: float) -> Estimate:
    """Alerts that nobody looked at may all be normal, or like those above them; where they are the most,
    only the interval is told."""
    low, high = _wilson(found.share, judged)
    total = found.covered + found.unknown
    estimate = (found.rows + found.unknown * found.share / 2) / total
    return Estimate(
        estimate if found.unknown <= found.covered else None,
        low * found.covered / total,
        high,
    )


def _wilson(share: float, count: float) -> tuple[float, float]:
    z2 = _Z * _Z / count
    middle = share + z2 / 2
    spread = _Z * math.sqrt(share * (1 - share) / count + z2 / (4 * count))
    return max((middle - spread) / (1 + z2), 0.0), min((middle + spread) / (1 + z2), 1.0)


def _sum(bands: _Bands, rows: Floats, low: int, high: int) -> AnomalySum:
    """The anomalies among the rows in the bins from `low` up to before `high`."""
    top, bottom = np.minimum(bands.high, high), np.maximum(bands.low, low)
    held = np.maximum(rows[np.minimum(bottom, top)] - rows[top], 0.0)
    return AnomalySum(
        float(held @ bands.share),
        float(held**2 @ bands.variance),
        float(held.sum()),
        float((held**2 / bands.worth).sum()),
    )


def _bands(judged: Sequence[JudgedEvent], line: int) -> tuple[_Bands, _Bands]:
    """Of the verdicts that count: from the line upwards, down to the lowest of them; below it, all."""
    ordered = sorted(judged, key=lambda event: -event.score)
    bins = bins_of(np.array([event.score for event in ordered], np.float32))
    drawn = np.array([event.drawn for event in ordered], bool)
    anomaly = np.array([event.anomaly for event in ordered], bool)
    weight = np.array([1.0 / event.probability for event in ordered])
    return (
        _banded(bins, anomaly, weight, bins >= line, BINS),
        _banded(bins, anomaly, weight, (bins < line) & drawn, line, 0),
    )


def _banded(
    bins: NDArray[np.int64],
    anomaly: NDArray[np.bool_],
    weight: Floats,
    which: NDArray[np.bool_],
    top: int,
    bottom: int | None = None,
) -> _Bands:
    """Bands of a few verdicts of those `which`, from `top` downwards; the last one reaches down to the
    `bottom`, or to its lowest verdict."""
    bins, anomaly, weight = bins[which], anomaly[which], weight[which]
    starts = _starts(bins)
    if not len(starts):
        return _Bands(np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0), np.zeros(0), np.zeros(0))
    lows = bins[np.append(starts[1:], len(bins)) - 1].astype(np.intp)
    if bottom is not None:
        lows[-1] = bottom
    weights, squares, anomalous, anomalous_squares = (
        np.add.reduceat(part, starts) for part in (weight, weight**2, weight * anomaly, weight**2 * anomaly)
    )
    share = anomalous / weights
    return _Bands(
        lows,
        np.append(top, lows[:-1]).astype(np.intp),
        share,
        weights**2 / squares,
        anomalous_squares * (1 - share) / weights**2,
    )


def _starts(bins: NDArray[np.int64]) -> NDArray[np.intp]:
    """Where bands of at least BAND verdicts begin, of all there are where those are fewer; verdicts of a bin
    stay together."""
    starts: list[int] = []
    for place in range(len(bins)):
        if not starts or (place - starts[-1] >= BAND and bins[place] != bins[place - 1]):
            starts.append(place)
    if len(starts) > 1 and len(bins) - starts[-1] < BAND:
        starts.pop()  # a few would speak for all rows down to the last of them
    return np.array(starts, np.intp)

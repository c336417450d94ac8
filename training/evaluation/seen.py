"""What training saw: bounds of numbers and of the distance, with a margin, and columns that are closed.

Labelled anomalies are left out: what is known to be wrong shall not make its like look familiar. Neither
shall a few strays far beyond all others: mistakes, or anomalies that nobody has found.
"""

import numpy as np

from nearnorm.models.bundle.manifest import Seen, SeenRange
from nearnorm.models.data.schema import FIRST_CODE, MISSING_CODE, UNKNOWN_CODE, FeatureSchema, Kind

TAIL = 0.005
RANGE_SHARE = 0.1
"""The margin is as wide as from the median to the quantile TAIL, at least this share of the range."""
STRAYS = 0.0005
"""The rows on either side that may be strays, at least one: those are that lie beyond the others..."""
STRAY_WIDTHS = 10.0
"""... by more than so many times the width from the median to them, at least a tenth of their range."""
CLOSED = 0.0005
"""A column is closed whose next row has a category never seen with at most this probability."""


def what_was_seen(
    schema: FeatureSchema,
    numeric: np.ndarray,
    codes: np.ndarray,
    distance: np.ndarray,
    time: np.ndarray | None = None,
) -> Seen:
    """Of the N training rows that nobody called an anomaly, held-out ones included; `distance` [R] is of
    held-out rows. `time` [N] orders the rows, but for those where it is NaN: a column that only grows with it
    has no upper bound."""
    order = None if time is None else np.argsort(time, kind="stable")[: np.count_nonzero(~np.isnan(time))]
    return Seen(
        numeric={
            f.name: bounds_of(numeric[:, j], order)
            for j, f in enumerate(schema.numeric)
            if f.kind is Kind.NUMERIC
        },
        closed=tuple(
            f.name
            for j, f in enumerate(schema.categorical)
            if unseen_mass(codes[:, j], len(f.categories)) <= CLOSED
        ),
        distance=bounds_of(distance.astype(np.float64)).high,
    )


def bounds_of(values: np.ndarray, order: np.ndarray | None = None) -> SeenRange:
    """Where values of one column become novel; `order` is their order in time."""
    present = values[~np.isnan(values)]
    if not len(present):
        return SeenRange(low=None, high=None)
    with np.errstate(all="ignore"):  # a range can be wider than numbers go
        least, low, median, high, most = np.quantile(present, [0.0, TAIL, 0.5, 1.0 - TAIL, 1.0]).tolist()
    margin = RANGE_SHARE * (most - least)
    below, above = _without_strays(present, median)
    grows, falls = _only(values, order)
    return SeenRange(
        low=None if falls else _finite(max(below, least - max(median - low, margin))),
        high=None if grows else _finite(min(above, most + max(high - median, margin))),
    )


def _without_strays(present: np.ndarray, median: float) -> tuple[float, float]:
    """How far values may lie beyond those that are no strays. Where these are all the same: anywhere."""
    with np.errstate(all="ignore"):
        low = float(np.quantile(present, STRAYS, method="higher"))
        high = float(np.quantile(present, 1.0 - STRAYS, method="lower"))
        least = RANGE_SHARE * (high - low)
        if not least > 0.0:
            return -np.inf, np.inf
        below, above = max(median - low, least), max(high - median, least)
        return low - STRAY_WIDTHS * below, high + STRAY_WIDTHS * above


def _finite(bound: float) -> float | None:
    return bound if np.isfinite(bound) else None


def unseen_mass(codes: np.ndarray, categories: int) -> float:
    """The probability that the next row has a category never seen: by Good and Turing the share of rows whose
    category they alone have. One row more counts as such, so that few rows promise nothing."""
    present = codes[codes != MISSING_CODE]
    counts = np.bincount(present, minlength=FIRST_CODE + categories)
    alone = int(counts[UNKNOWN_CODE] + (counts[FIRST_CODE:] == 1).sum())  # a category seen once is unknown
    return (alone + 1) / (len(present) + 1)


def _only(values: np.ndarray, order: np.ndarray | None) -> tuple[bool, bool]:
    """Whether a column only grows, or only falls, with time."""
    if order is None:
        return False, False
    ordered = values[order]
    steps = np.diff(ordered[~np.isnan(ordered)])
    return bool((steps >= 0).all() and (steps > 0).any()), bool((steps <= 0).all() and (steps < 0).any())

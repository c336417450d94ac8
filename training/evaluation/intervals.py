"""What a handful of anomalies tells of all anomalies: intervals without an assumption about their scores.

They are wider than sampling alone asks for (99% and 97.5%): the ranks are those of fits on half of the
labels, among reference rows that are a sample too. So the truth lies within nine times of ten and more
(docs/detection.md).
"""

import math

import numpy as np

CONFIDENCE = 0.99
"""Of the median's interval."""
_Z = 2.2414
"""Of a share's interval, 97.5%."""


def median_interval(values: np.ndarray) -> tuple[float, float, float] | None:
    """Low, median and high of positive values [N], by their order alone. None: too few for an interval."""
    ordered = np.sort(values)
    outside = _outside(len(ordered))
    if not outside:
        return None
    median = float(np.exp(np.median(np.log(ordered))))
    return float(ordered[outside - 1]), median, float(ordered[-outside])


def fewest_for_a_median() -> int:
    return next(count for count in range(1, 100) if _outside(count))


def share_interval(hits: int, count: int) -> tuple[float, float]:
    """Wilson's interval of the share that `hits` of `count` come from."""
    share, z2 = hits / count, _Z * _Z / count
    spread = _Z * math.sqrt(share * (1 - share) / count + z2 / (4 * count))
    low, high = (share + z2 / 2 - spread) / (1 + z2), (share + z2 / 2 + spread) / (1 + z2)
    return max(low, 0.0), min(high, 1.0)


def _outside(count: int) -> int:
    """The place from either end of `count` ordered values at which the interval of the median begins."""
    place, tail = 0, 0.0
    while True:
        log_chance = math.lgamma(count + 1) - math.lgamma(place + 1) - math.lgamma(count - place + 1)
        tail += math.exp(log_chance - count * math.log(2))
        if 1 - 2 * tail < CONFIDENCE:
            return place
        place += 1

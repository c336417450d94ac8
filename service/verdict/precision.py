"""The lowest threshold whose alerts are right often enough, by the verdicts on logged events. Pure."""

import math
from collections.abc import Sequence

from nearnorm.models.errors import ConfigError
from nearnorm.service.ledger.tables.feedback.judged import JudgedEvent

_Z = 1.2816
"""Of the one-sided 90% confidence."""
_MOST = 100_000


def lowest_threshold(judged: Sequence[JudgedEvent], precision: float) -> float:
    """The lowest score at which the precision of all that score as high is, with 90% confidence, at least
    `precision`. Events weigh one over their probability.

    Raises ConfigError, with how many verdicts it still needs, where there is none.
    """
    best: float | None = None
    weights = squares = right = 0.0
    ordered = sorted(judged, key=lambda event: -event.score)
    for place, event in enumerate(ordered):
        weight = 1.0 / event.probability
        weights, squares = weights + weight, squares + weight * weight
        right += weight * event.anomaly
        tied = place + 1 < len(ordered) and ordered[place + 1].score == event.score
        if not tied and _lower_bound(right / weights, weights * weights / squares) >= precision:
            best = event.score
    if best is not None:
        return best
    raise ConfigError(_needed(ordered, precision))


def _lower_bound(share: float, count: float) -> float:
    """Wilson's, of a share that was found among `count`."""
    z2 = _Z * _Z / count
    spread = _Z * math.sqrt(share * (1 - share) / count + z2 / (4 * count))
    return (share + z2 / 2 - spread) / (1 + z2)


def _needed(ordered: Sequence[JudgedEvent], precision: float) -> str:
    """A sentence with how many more verdicts like the best so far it takes."""
    counts, right, share = 0, 0, 1.0
    if ordered:
        best = max(range(len(ordered)), key=lambda n: _lower_bound(_share(ordered, n + 1), n + 1))
        counts, share = best + 1, _share(ordered, best + 1)
        right = round(share * counts)
    count = counts
    while count < _MOST and _lower_bound(share, max(count, 1)) < precision:
        count += 1
    wanted = f"a precision of {100 * precision:g}%"
    found = f"{right} of the {counts} highest judged alerts are right"
    if count == _MOST:
        return f"{wanted} is not in sight: {found}: label more, or ask for less"
    return f"{wanted} needs {count - counts} more verdicts on the highest alerts: {found}"


def _share(ordered: Sequence[JudgedEvent], count: int) -> float:
    return sum(event.anomaly for event in ordered[:count]) / count

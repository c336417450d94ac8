"""How much traffic the next day brings: a level that follows changes, times what its weekday is like."""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

WEEK = 7
_SURE = 4  # days that must lie behind one, before it may say what its weekday is like
_AGREE = 0.1  # relative: days that differ less are of one level
_FEWEST, _MOST = 0.02, 5.0  # of a weekday's factor


class Volume(Struct, frozen=True):
    """Rows a day. `factors` [7]: what the weekday of the next day, of the one after it ... is like, with
    mean 1; `level` is a mean day's rows, `days` how many newest days it is the mean of."""

    level: float
    factors: NDArray[np.float64]
    days: int

    @property
    def tomorrow(self) -> float:
        return float(self.level * self.factors[0])

    def factor_ago(self, day: int) -> float:
        """What the weekday of the `day`-th newest day is like; 0 is the newest."""
        return float(self.factors[(-1 - day) % WEEK])


def expect(newest_first: NDArray[np.float64]) -> Volume:
    """From rows by whole trailing day [D], D > 0.

    A weekday's factor is the median over weeks of its share in the days around it, so that a step in the
    level is none of a weekday's doing. The level is the mean of as many newest days as agree.
    """
    days = newest_first[::-1]
    factors = _factors(days)
    count = len(days)
    plain = np.array([days[count - 1 - i] / factors[(-1 - i) % WEEK] for i in range(count)])
    used = 1
    for width in range(2, min(count, WEEK) + 1):
        mean = plain[:width].mean()
        if np.abs(plain[:width] - mean).max() > mean * _AGREE + 3 * np.sqrt(max(mean, 1.0)):
            break
        used = width
    return Volume(float(plain[:used].mean()), factors, used)


def _factors(days: NDArray[np.float64]) -> NDArray[np.float64]:
    count = len(days)
    factors = np.ones(WEEK)
    if count < WEEK:
        return factors
    votes: dict[int, list[tuple[int, float]]] = {}
    for day in range(count):
        start = min(max(0, day - WEEK // 2), count - WEEK)
        around = max(float(np.median(days[start : start + WEEK])), 1.0)
        votes.setdefault((day - count) % WEEK, []).append((day, days[day] / around))
    for weekday, found in votes.items():
        sure = [factor for day, factor in found if day <= count - _SURE]
        factors[weekday] = np.clip(np.median((sure or [f for _, f in found])[-3:]), _FEWEST, _MOST)
    return np.asarray(factors / factors.mean())

"""How many alerts a team can bear: a share of normal traffic, or a number a day. Pure.

A share is the model's own promise: of reference traffic, this much is flagged. A number a day has to
be solved from the traffic that was seen: how much there is, and how much of it is how rare.
"""

import re
from collections.abc import Mapping

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from nearnorm.models.errors import ConfigError

EDGES: NDArray[np.float64] = 10.0 ** (np.arange(-50, 1) / 10)  # upper edges of rarity: 1e-5 to 1
PRIOR = 1_000  # rows as rare as the reference's that are counted in, so that a few seen decide little
MOST = 0.5  # with less traffic than the budget allows: still never more than half of it

_SHARE = re.compile(r"\s*(-?[0-9]+(?:\.[0-9]+)?|-?\.[0-9]+)\s*%(?:\s+of\s+normal\s+traffic)?\s*")
_PER_DAY = re.compile(r"\s*(-?[0-9]+(?:\.[0-9]+)?|-?\.[0-9]+)\s*(?:alerts?\s+)?(?:a|per)\s+day\s*")


class Share(Struct, frozen=True):
    """Of normal traffic, in (0, 1)."""

    share: float


class PerDay(Struct, frozen=True):
    alerts: float


def parse(text: str) -> Share | PerDay:
    """Read "0.5%" or "40 a day". Raises ConfigError."""
    if found := _SHARE.fullmatch(text):
        percent = float(found[1])
        if not 0.0 < percent < 100.0:
            raise ConfigError(f"a budget of {percent:g}% is none: give more than 0% and less than 100%")
        return Share(percent / 100.0)
    if found := _PER_DAY.fullmatch(text):
        alerts = float(found[1])
        if alerts <= 0.0:
            raise ConfigError(f"a budget of {alerts:g} a day is none: give a positive number")
        return PerDay(alerts)
    raise ConfigError(f'{text[:60]!r} is no budget: write "0.5%" of normal traffic, or "40 a day"')


def bins(percentiles: NDArray[np.float64]) -> NDArray[np.int64]:
    """[len(EDGES)] rows by rarity: bin i holds those with EDGES[i - 1] < rarity <= EDGES[i]."""
    rarity = np.sort(1.0 - percentiles / 100.0)  # to look up the few among the many takes a sixth of the time
    beneath = np.searchsorted(rarity, EDGES * (1 + 1e-9), side="right")
    beneath[-1] = len(rarity)
    return np.diff(beneath, prepend=0)


class Traffic(Struct, frozen=True):
    """Rows by bin of rarity, seen within `days`."""

    rows: Mapping[int, int]
    days: float

    @property
    def total(self) -> int:
        return sum(self.rows.values())

    @property
    def per_day(self) -> float:
        return self.total / self.days

    def rate(self, share: float) -> float:
        """The part of this traffic that a budget of `share` is expected to flag."""
        return float(np.interp(share, *self._curve()))

    def share_for(self, alerts_per_day: float) -> float:
        """The share that gives so many alerts a day, at most MOST. Raises ConfigError without traffic."""
        if not self.total:
            raise ConfigError(
                "no traffic has been seen yet, so a number a day cannot be solved: "
                'score records first, or give a share such as "0.5%"'
            )
        shares, rates = self._curve()
        return min(MOST, float(np.interp(alerts_per_day / self.per_day, rates, shares)))

    def _curve(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Shares, and the part of the traffic that each flags: what was seen, and PRIOR reference rows."""
        seen = np.cumsum([self.rows.get(i, 0) for i in range(len(EDGES))], dtype=np.float64)
        rates = (seen + PRIOR * EDGES) / (self.total + PRIOR)
        return np.append(0.0, EDGES), np.append(0.0, rates)

"""The audit slice: rows drawn at random from all traffic, whatever their score, each with a known chance."""

import time
from collections.abc import Iterator

import numpy as np

MOST_PER_SECOND = 200
"""Rows drawn at a rate below 1: already these fill a log of a million rows in an hour and a half."""


class AuditSlice:
    """Every row is drawn with the same chance, which is settled before it comes.

    That is `rate`, or less while traffic is so heavy that more than MOST_PER_SECOND would be drawn. A rate
    of 1 means every row at any time. Not for several threads.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._probability = rate
        self._rng = np.random.default_rng()
        self._rows = 0
        self._until = time.monotonic() + 1.0
        self._begin()

    def draw(self, count: int) -> tuple[list[int], float]:
        """Indices drawn among the next `count` rows, in order, and the chance that each of these had."""
        now = time.monotonic()
        if now >= self._until:
            self._settle(now)
        self._rows += count
        drawn = []
        while self._gap < count:
            drawn.append(self._gap)
            self._gap += 1 + next(self._gaps)
        self._gap -= count
        return drawn, self._probability

    def _settle(self, now: float) -> None:
        """Settle the chance for the next second, by the rows a second since the last time."""
        per_second = self._rows / (now - self._until + 1.0)
        self._rows, self._until = 0, now + 1.0
        most = MOST_PER_SECOND / per_second if per_second and self._rate < 1 else 1.0
        probability = min(self._rate, most)
        if probability != self._probability:
            self._probability = probability
            self._begin()

    def _begin(self) -> None:
        """By the distance to the next row that is drawn: one random number a drawn row, not one a row."""
        self._gaps = self._draw_gaps(self._probability)
        self._gap = next(self._gaps)

    def _draw_gaps(self, probability: float) -> Iterator[int]:
        while probability > 0:
            yield from (self._rng.geometric(probability, 1000) - 1).tolist()
        yield 2**62

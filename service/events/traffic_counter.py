"""Counts all traffic, kept or not, for the budgets: rows, alerts and sketches of scores, by hour and caller.

`note` runs in the event loop, in every request's way; `count` runs in the event log's thread.
"""

import threading
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearnorm.service.ids import new_id, now_ms
from nearnorm.service.ledger.tables.events.traffic import Counted
from nearnorm.service.verdict.traffic import score_bins

MOST_CALLERS = 16
"""Callers of a model and an hour that are counted each by himself."""
OTHERS = "(others)"
HOUR_MS = 3600 * 1000
_TOGETHER = 4_096  # requests whose scores are binned at once, at most


class RaisedBy(NamedTuple):
    """Alerts of a request by what raised them, and rows that the budget alone held back."""

    by_score: int = 0
    by_novelty: int = 0
    by_label: int = 0
    held_back: int = 0


NOTHING_RAISED = RaisedBy()


class _Noted:
    """What one caller sent to one version since it was counted last."""

    __slots__ = ("bins", "raised", "rows", "scores")

    def __init__(self) -> None:
        self.scores: list[NDArray[np.float32]] = []
        self.raised = NOTHING_RAISED
        self.rows = 0
        self.bins = np.zeros(score_bins.BINS, np.int64)

    def fold(self) -> None:
        """Bin the scores, which would fill the memory."""
        if self.scores:
            scores, self.scores = np.concatenate(self.scores), []
            self.rows += len(scores)
            self.bins += score_bins.count(scores)


class TrafficCounter:
    """What one process has counted in the newest two hours; older ones are in the ledger."""

    def __init__(self) -> None:
        self.writer = new_id()
        self._lock = threading.Lock()
        self._noted: dict[tuple[str, str, str], _Noted] = {}
        self._counted: dict[tuple[str, str, int, str], Counted] = {}
        self._changed: set[tuple[str, str, int, str]] = set()

    def note(
        self, model: str, version: str, caller: str, scores: NDArray[np.float32], raised: RaisedBy
    ) -> None:
        """One request's scores [N], and what they raised."""
        key = model, version, caller
        with self._lock:
            noted = self._noted.get(key)
            if noted is None:
                noted = self._noted[key] = _Noted()
            noted.scores.append(scores)
            if raised is not NOTHING_RAISED:
                noted.raised = RaisedBy(*map(sum, zip(noted.raised, raised, strict=True)))
            if len(noted.scores) == _TOGETHER:
                noted.fold()

    def count(self) -> None:
        """Count what was noted."""
        hour = now_ms() // HOUR_MS
        with self._lock:
            noted_of, self._noted = self._noted, {}
        for (model, version, caller), noted in noted_of.items():
            noted.fold()
            key = (model, version, hour, self._named(model, version, hour, caller))
            counted = self._counted.get(key)
            if counted is None:
                counted = self._counted[key] = Counted(model, hour, version, key[-1], 0, 0, 0, 0, 0, {})
            counted.rows += noted.rows
            counted.by_score += noted.raised.by_score
            counted.by_novelty += noted.raised.by_novelty
            counted.by_label += noted.raised.by_label
            counted.held_back += noted.raised.held_back
            for place in np.flatnonzero(noted.bins).tolist():
                counted.bins[place] = counted.bins.get(place, 0) + int(noted.bins[place])
            self._changed.add(key)

    def changed(self) -> list[Counted]:
        """What is to be written."""
        return [self._counted[key] for key in sorted(self._changed)]

    def written(self) -> None:
        """All that `changed` gave is in the ledger."""
        self._changed.clear()
        hour = now_ms() // HOUR_MS
        self._counted = {key: one for key, one in self._counted.items() if one.hour >= hour - 1}

    def _named(self, model: str, version: str, hour: int, caller: str) -> str:
        if (model, version, hour, caller) in self._counted:
            return caller
        known = sum(key[:3] == (model, version, hour) for key in self._counted)
        return caller if known < MOST_CALLERS else OTHERS

"""Counts all traffic, kept or not, for the budgets: rows, alerts and sketches of scores, by hour and caller.

`note` runs in the event loop and only remembers; `count` runs in the event log's thread.
"""

from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from nearnorm.service.ids import new_id, now_ms
from nearnorm.service.ledger.tables.events.traffic import Counted
from nearnorm.service.verdict.traffic import score_bins

MOST_CALLERS = 16
"""Callers of a model and an hour that are counted each by himself."""
OTHERS = "(others)"
HOUR_MS = 3600 * 1000


class RaisedBy(NamedTuple):
    """Alerts of a request by what raised them, and rows that the budget alone held back."""

    by_score: int = 0
    by_novelty: int = 0
    by_label: int = 0
    held_back: int = 0


class _Request(NamedTuple):
    model: str
    version: str
    caller: str
    scores: Sequence[float]
    raised: RaisedBy


class TrafficCounter:
    """What one process has counted in the newest two hours; older ones are in the ledger."""

    def __init__(self) -> None:
        self.writer = new_id()
        self._seen: deque[_Request] = deque(maxlen=100_000)
        self._counted: dict[tuple[str, str, int, str], Counted] = {}
        self._changed: set[tuple[str, str, int, str]] = set()

    def note(self, model: str, version: str, caller: str, scores: Sequence[float], raised: RaisedBy) -> None:
        self._seen.append(_Request(model, version, caller, scores, raised))

    def count(self) -> None:
        """Count what was noted."""
        hour = now_ms() // HOUR_MS
        for request_of, scores, raised in self._gathered():
            model, version, caller = request_of
            key = (model, version, hour, self._named(model, version, hour, caller))
            counted = self._counted.get(key)
            if counted is None:
                counted = self._counted[key] = Counted(model, hour, version, key[-1], 0, 0, 0, 0, 0, {})
            counted.rows += len(scores)
            counted.by_score += raised.by_score
            counted.by_novelty += raised.by_novelty
            counted.by_label += raised.by_label
            counted.held_back += raised.held_back
            bins = score_bins.count(np.frombuffer(scores).astype(np.float32))
            for place in np.flatnonzero(bins).tolist():
                counted.bins[place] = counted.bins.get(place, 0) + int(bins[place])
            self._changed.add(key)

    def changed(self) -> list[Counted]:
        """What is to be written."""
        return [self._counted[key] for key in sorted(self._changed)]

    def written(self) -> None:
        """All that `changed` gave is in the ledger."""
        self._changed.clear()
        hour = now_ms() // HOUR_MS
        self._counted = {key: one for key, one in self._counted.items() if one.hour >= hour - 1}

    def _gathered(self) -> Iterable[tuple[tuple[str, str, str], "array[float]", RaisedBy]]:
        """What was noted so far, in one piece for each model, version and caller."""
        found: dict[tuple[str, str, str], tuple[array[float], list[RaisedBy]]] = {}
        for _ in range(len(self._seen)):
            request = self._seen.popleft()
            scores, raised = found.setdefault(request[:3], (array("d"), []))
            scores.extend(request.scores)
            raised.append(request.raised)
        for key, (scores, raised) in found.items():
            yield key, scores, RaisedBy(*map(sum, zip(*raised, strict=True)))

    def _named(self, model: str, version: str, hour: int, caller: str) -> str:
        if (model, version, hour, caller) in self._counted:
            return caller
        known = sum(key[:3] == (model, version, hour) for key in self._counted)
        return caller if known < MOST_CALLERS else OTHERS

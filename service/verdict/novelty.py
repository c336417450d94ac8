"""Novelty: values beyond anything that training saw.

A score says how strange a record is among what was seen; far beyond it the score says little, as a number a
thousand times too large counts for no more than a large one. So what nobody has seen alerts by itself, until
there is so much of it that it is how the traffic is now: then it is drift, and wants a retraining.
"""

from collections import Counter, deque
from collections.abc import Mapping
from datetime import UTC, datetime
from operator import ge, le

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from nearnorm.models.bundle.manifest import Core
from nearnorm.models.data.schema import UNKNOWN_CODE
from nearnorm.service.records.encoded import Rows

WINDOW, BLOCK = 20_000, 1_000
"""Recent rows."""
ALLOWED = 20
"""Novel rows of a signal among them, 0.1%: with more it alerts no longer, with half as many it does again."""

Novel = Mapping[int, tuple[int, ...]]
"""Which signals are novel, by row."""
_NONE: Novel = {}
_TOGETHER = 1_024  # rows, as many as a batch has
_TRUE = b"\x01"


class Signals:
    """What can be novel, each by its number: features, and behind them the distance."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        """Of the features."""
        self.distance = len(names)
        """The signal of the distance, which is no feature."""

    def features(self, signals: tuple[int, ...]) -> list[str]:
        """Those of the signals that are features, by name."""
        return [self.names[signal] for signal in signals if signal != self.distance]

    def name(self, signal: int) -> str:
        """As people read it."""
        return "the distance" if signal == self.distance else self.names[signal]


class Novelty(Signals):
    """By one model's training rows. Signals are numbers, closed categorical features, and the distance."""

    def __init__(self, core: Core) -> None:
        """A core that does not say what training saw finds nothing novel."""
        features, seen = core.features, core.seen
        bounds = {} if seen is None else seen.numeric
        numeric = [bounds.get(f.name) for f in features.numeric]
        low = [-np.inf if b is None or b.low is None else b.low for b in numeric]
        high = [np.inf if b is None or b.high is None else b.high for b in numeric]
        closed = () if seen is None else seen.closed
        self._lows, self._highs = low, high
        self._widen(1)
        self._closed = [j for j, f in enumerate(features.categorical) if f.name in closed]
        self._distance = np.inf if seen is None or seen.distance is None else seen.distance
        self._knows = seen is not None
        super().__init__(
            [f.name for f in features.numeric] + [features.categorical[j].name for j in self._closed]
        )

    def find(self, rows: Rows, distance: NDArray[np.float32]) -> Novel:
        """The novel among N rows and their distances to the nearest prototype."""
        if not self._knows:
            return _NONE
        count = len(distance)
        if count == 1 and self._is_usual(rows, distance):
            return _NONE
        found: dict[int, tuple[int, ...]] = {}
        if count > _TOGETHER:
            for start in range(0, count, _TOGETHER):
                stop = start + _TOGETHER
                few = self.find(rows.part(start, stop), distance[start:stop])
                found |= {start + row: signals for row, signals in few.items()}
            return found
        if count > len(self._low):
            self._widen(min(2 * count, _TOGETHER))
        over, under = rows.numeric > self._high[:count], rows.numeric < self._low[:count]
        seen = _TRUE not in over.tobytes() and _TRUE not in under.tobytes()  # a third of the time of any()
        parts = [over, under]
        if self._closed:
            parts.append(rows.codes[:, self._closed] == UNKNOWN_CODE)
            seen = seen and _TRUE not in parts[-1].tobytes()
        if seen and not distance[distance.argmax()] > self._distance:
            return _NONE
        parts[:2] = [over | under]
        parts.append((distance > self._distance)[:, None])
        novel = np.concatenate(parts, axis=1)
        alike: dict[bytes, tuple[int, ...]] = {}  # thousands of rows may be novel in the same way
        rows_ = np.flatnonzero(novel.any(axis=1))
        keys: list[bytes] = novel[rows_].view(f"V{novel.shape[1]}").ravel().tolist()
        for row, key in zip(rows_.tolist(), keys, strict=True):
            if key not in alike:
                alike[key] = tuple(np.flatnonzero(novel[row]).tolist())
            found[row] = alike[key]
        return found

    def _widen(self, rows: int) -> None:
        """As many rows as are compared with them: a third of the time of one that is repeated. No more, as a
        model that is asked for one row at a time would hold half a megabyte for nothing."""
        self._low, self._high = np.tile(self._lows, (rows, 1)), np.tile(self._highs, (rows, 1))

    def _is_usual(self, rows: Rows, distance: NDArray[np.float32]) -> bool:
        """Whether a lone row surely has nothing novel: arrays take twice as long to say so."""
        (numbers,), (far,) = rows.numeric.tolist(), distance.tolist()
        if not (all(map(ge, self._highs, numbers)) and all(map(le, self._lows, numbers))):
            return False
        return not self._closed and far <= self._distance


class SignalNovelty(Struct, frozen=True):
    """`rows` of the newest `window` were novel; they alert no longer since `ceased_since`."""

    signal: int
    rows: int
    window: int
    ceased_since: datetime | None


class NoveltyWatch:
    """How much of recent traffic is novel, and what has ceased to alert for that. One thread."""

    def __init__(self) -> None:
        self._blocks: deque[tuple[int, Counter[int]]] = deque(maxlen=WINDOW // BLOCK - 1)
        self._open: Counter[int] = Counter()
        self._open_rows = 0
        self._total: Counter[int] = Counter()  # of all blocks, the open one included
        self.ceased: dict[int, datetime] = {}
        """Since when signals alert no longer."""

    def alerting(self, novel: Novel) -> list[int]:
        """The rows with a signal that alerts; of many in one batch the first ones, as of many batches."""
        if not novel:
            return []
        found: list[int] = []
        before = self._total.copy()
        spent: set[tuple[int, ...]] = set()  # none of these signals alerts any more
        for row, signals in novel.items():
            if signals in spent:
                continue
            if any(signal not in self.ceased and before[signal] <= ALLOWED for signal in signals):
                found.append(row)
                before.update(signals)
            else:
                spent.add(signals)
        return found

    def count(self, rows: int, novel: Novel) -> list[int]:
        """Take a batch; the signals that cease to alert with it."""
        self._open_rows += rows
        fresh: list[int] = []
        if novel:
            found: Counter[int] = Counter()
            for signals, count in Counter(novel.values()).items():
                found.update(dict.fromkeys(signals, count))
            self._open.update(found)
            self._total.update(found)
            for signal in found:
                if self._total[signal] > ALLOWED and signal not in self.ceased:
                    self.ceased[signal] = datetime.now(UTC)
                    fresh.append(signal)
        if self._open_rows >= BLOCK:
            self._turn()
        return fresh

    def states(self) -> list[SignalNovelty]:
        """Of signals with novel rows among the recent ones."""
        window = self._open_rows + sum(rows for rows, _ in self._blocks)
        return [
            SignalNovelty(signal, rows, window, self.ceased.get(signal))
            for signal, rows in sorted(self._total.copy().items())
            if rows
        ]

    def _turn(self) -> None:
        """A block is full: the oldest one leaves, and what has become rare again alerts again."""
        if len(self._blocks) == self._blocks.maxlen:
            self._total.subtract(self._blocks[0][1])
        self._blocks.append((self._open_rows, self._open))
        self._open, self._open_rows = Counter(), 0
        for signal in [s for s in self.ceased if self._total[s] <= ALLOWED // 2]:
            del self.ceased[signal]

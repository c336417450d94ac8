"""Occlusion: what a score loses when values of a record are replaced by normal ones.

Singly, and the best few together: at every step the feature is taken whose replacement, on top of those
already replaced, takes most from the logit. What it takes beneath an ordinary score counts for nothing there:
a record that scores like any other has nothing to explain. An odd value counts for a little more than it
takes, so that of two that take as much the odder one is named, and an odd one where the score hardly moves.
What takes nothing by itself is no reason, but for what is as odd as can be: that comes after what takes more.
"""

from collections.abc import Callable

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from nearnorm.service.inference.outputs import Outputs
from nearnorm.service.records.encoder import Rows

MOST = 5
"""Features named of one record."""
CONSIDERED = 32
"""Features tried of one record: the oddest."""
ODDEST = 12.0
PER_ODDITY = 0.4
LEAST = 0.3
"""In logits: what a feature is worth at least that is named, of which PER_ODDITY for as much oddity as the
oddest usual value has. Chosen on nineteen sets (docs/detection.md)."""
TAKEN = 0.1
"""In logits: what takes so much on top of the others is named, however usual."""
NOTHING = 1e-3
UNSEEN = 1.0
"""In logits: what takes no more takes nothing, and what it is worth where it is as odd as can be."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Effect(Struct, frozen=True):
    """`alone` is what replacing this feature takes from the logit, `together` with all named before it; what
    they take beneath an ordinary score too."""

    feature: int
    alone: float
    together: float


class Occlusion:
    """`run` has the model's answers; `ordinary` is a score that needs no reason."""

    def __init__(self, run: Callable[[Rows], Outputs], ordinary: float) -> None:
        self._run = run
        self._ordinary = float(_logit(np.float32(ordinary)))

    def effects(
        self, rows: Rows, score: NDArray[np.float32], normal: Rows, oddity: Floats
    ) -> list[list[Effect]]:
        """At most MOST effects for each of N rows, the most telling first. MOST * CONSIDERED answers a row.

        `normal` [N] has the values that replace the rows' own, `oddity` [N, D] how odd each of these is (0:
        not at all; 1: as odd as the oddest usual one).
        """
        count, width = oddity.shape
        tried = min(CONSIDERED, width)
        odd = np.minimum(oddity, ODDEST)
        features = np.argsort(-odd, axis=1, kind="stable")[:, :tried]  # [N, tried]
        worth = PER_ODDITY * np.take_along_axis(odd, features, axis=1)
        now = Rows(rows.numeric.copy(), rows.codes.copy())
        before = _logit(score)
        excess = np.maximum(before, self._ordinary)
        taken = np.zeros(count)
        alone = np.zeros((count, tried))
        found: list[list[Effect]] = [[] for _ in range(count)]
        going = np.arange(count)
        for step in range(min(MOST, tried)):
            left = _logit(self._run(_replaced(now, normal, features, going)).score).reshape(-1, tried)
            takes = excess[going, None] - np.maximum(left, self._ordinary)
            if step == 0:
                alone = before[:, None] - left
                unseen = np.take_along_axis(odd, features, axis=1) >= ODDEST
                worth = np.where(alone > NOTHING, worth, np.where(unseen, UNSEEN - takes, -np.inf))
            worths = takes - taken[going, None] + worth[going]
            best = worths.argmax(axis=1)
            each = np.arange(len(going))
            more = takes[each, best] - taken[going]
            telling = (worths[each, best] >= LEAST) | (np.isfinite(worths[each, best]) & (more >= TAKEN))
            takes, left = takes[each, best][telling], left[each, best][telling]
            going, best = going[telling], best[telling]
            if not len(going):
                break
            taken[going] = takes
            worth[going, best] = -np.inf  # named once
            chosen = features[going, best]
            _replace(now, going, normal, going, chosen)
            together = (before[going] - left).tolist()
            for row, place, feature, all_ in zip(
                going.tolist(), best.tolist(), chosen.tolist(), together, strict=True
            ):
                found[row].append(Effect(feature, float(alone[row, place]), all_))
        return found


def _logit(score: NDArray[np.float32] | np.float32) -> Floats:
    """The log-odds of scores; float32 keeps them within about 16."""
    share = np.clip(np.asarray(score, np.float64), 1e-7, 1.0 - 1e-7)
    return np.asarray(np.log(share / (1.0 - share)))


def _replaced(now: Rows, normal: Rows, features: Integers, going: Integers) -> Rows:
    """Of each row that is going on, one variant for each feature that is tried."""
    tried = features.shape[1]
    source = np.repeat(going, tried)
    variants = Rows(now.numeric[source], now.codes[source])
    _replace(variants, np.arange(len(source)), normal, source, features[going].ravel())
    return variants


def _replace(rows: Rows, places: Integers, normal: Rows, source: Integers, features: Integers) -> None:
    """In `rows`, at each place one feature by that of a `normal` row."""
    width = rows.numeric.shape[1]
    number = features < width
    rows.numeric[places[number], features[number]] = normal.numeric[source[number], features[number]]
    code = ~number
    columns = features[code] - width
    rows.codes[places[code], columns] = normal.codes[source[code], columns]

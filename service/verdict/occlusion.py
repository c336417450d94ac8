"""Occlusion: what a score loses when values of a record are replaced by normal ones.

Singly, and the best few together: at every step the feature is taken whose replacement, on top of those
already replaced, takes most from the logit. What it takes beneath an ordinary score counts for nothing there:
a record that scores like any other has nothing to explain. An odd value counts for a little more than it
takes, so that of two that take as much the odder one is named, and an odd one where the score hardly moves.
What takes nothing, by itself or on top of the others, is no reason for the score. It is named for its own
sake, for half its oddity, where it is odd and the record would be rebuilt better without it (or its oddity
is as large as can be): the others are told on top of one another without it.
"""

from collections.abc import Callable

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from nearnorm.service.inference.outputs import Outputs
from nearnorm.service.records.encoded import Rows

MOST = 5
"""Features named of one record."""
CONSIDERED = 32
"""Features tried of one record: the oddest."""
ODDEST = 12.0
PER_ODDITY = 0.25
LEAST = 0.3
"""In logits: what a feature is worth at least that is named, of which PER_ODDITY for as much oddity as the
oddest usual value has. These were chosen on 51 sets (docs/lab/detection.md)."""
TAKEN = 0.1
"""In logits: what takes so much on top of the others is named, however usual, or nothing by itself."""
NOTHING = 1e-3
UNSEEN = 1.0
"""In logits: what takes no more takes nothing, and what it is worth where it is as odd as can be."""
PER_ODDITY_BESIDE = 0.2
REBUILT = 0.05
"""What takes nothing is worth so much where it is odd, and where so much of the reconstruction error goes
with it."""
_TINY = 1e-6

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Effect(Struct, frozen=True):
    """`alone` is what replacing this feature takes from the logit, `together` with all named before it; what
    they take beneath an ordinary score too. `rebuilt` is what it takes from the reconstruction error, as a
    share."""

    feature: int
    alone: float
    together: float
    rebuilt: float


class Occlusion:
    """`run` has the model's answers; `ordinary` is a score that needs no reason."""

    def __init__(self, run: Callable[[Rows], Outputs], ordinary: float) -> None:
        self._run = run
        self._ordinary = float(_logit(np.float32(ordinary)))

    def effects(self, rows: Rows, outputs: Outputs, normal: Rows, oddity: Floats) -> list[list[Effect]]:
        """At most MOST effects for each of N rows, the most telling first. MOST * CONSIDERED answers a row.

        `outputs` [N] are the model's answers to the rows, `normal` [N] has the values that replace their own,
        `oddity` [N, D] how odd each of these is (0: not at all; 1: as odd as the oddest usual one).
        """
        count, width = oddity.shape
        tried = min(CONSIDERED, width)
        odd = np.minimum(oddity, ODDEST)
        features = np.argsort(-odd, axis=1, kind="stable")[:, :tried]  # [N, tried]
        odd = np.take_along_axis(odd, features, axis=1)
        named = np.zeros(odd.shape, bool)
        before = _logit(outputs.score)
        excess = np.maximum(before, self._ordinary)
        now, rest, taken = Rows(rows.numeric.copy(), rows.codes.copy()), before.copy(), np.zeros(count)
        alone = rebuilt = worth = own = np.zeros((count, tried))
        found: list[list[Effect]] = [[] for _ in range(count)]
        going = np.arange(count)
        for step in range(min(MOST, tried)):
            answers = self._run(_replaced(now, normal, features, going))
            left = _logit(answers.score).reshape(-1, tried)
            takes = excess[going, None] - np.maximum(left, self._ordinary)
            if step == 0:
                alone = before[:, None] - left
                error = outputs.reconstruction_error[:, None]
                less = error - answers.reconstruction_error.reshape(-1, tried)
                rebuilt = less / np.maximum(error, _TINY)
                worth, own = _worth(odd, alone, takes), _own_worth(odd, alone, rebuilt)
            more = takes - taken[going, None]
            jointly = np.isneginf(worth[going]) & (rest[going, None] - left >= TAKEN)
            by_score = more + np.where(jointly, PER_ODDITY * odd[going], worth[going])
            worths = np.where(named[going], -np.inf, np.maximum(by_score, own[going]))
            best, each = worths.argmax(axis=1), np.arange(len(going))
            most = worths[each, best]
            telling = (most >= LEAST) | (np.isfinite(most) & (more[each, best] >= TAKEN))
            for_score = (by_score[each, best] >= most)[telling]
            takes, left = takes[each, best][telling], left[each, best][telling]
            going, best = going[telling], best[telling]
            if not len(going):
                break
            named[going, best] = True
            chosen = features[going, best]
            told = going[for_score]
            taken[told], rest[told] = takes[for_score], left[for_score]
            _replace(now, told, normal, told, chosen[for_score])
            for row, place, feature in zip(going.tolist(), best.tolist(), chosen.tolist(), strict=True):
                together = float(before[row] - rest[row])
                found[row].append(
                    Effect(feature, float(alone[row, place]), together, float(rebuilt[row, place]))
                )
        return found


def _worth(odd: Floats, alone: Floats, takes: Floats) -> Floats:
    """[N, tried] What a feature is worth beside what it takes; none: it takes nothing by itself."""
    unseen = np.where(odd >= ODDEST, UNSEEN - takes, -np.inf)
    return np.where(alone > NOTHING, PER_ODDITY * odd, unseen)


def _own_worth(odd: Floats, alone: Floats, rebuilt: Floats) -> Floats:
    """[N, tried] What a feature that takes nothing is worth where the record is rebuilt better without it."""
    beside = (alone <= NOTHING) & (odd >= 1.0) & (odd < ODDEST) & (rebuilt >= REBUILT)
    return np.where(beside, np.maximum(PER_ODDITY_BESIDE * odd, LEAST), -np.inf)


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

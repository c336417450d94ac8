"""Whether the teacher is to be believed: is it better than trees at finding labelled anomalies that it was
not shown?

On data like nothing that it learnt from it is behind, and says nothing. That takes no labels beyond those
there are; of one or two there is no telling.
"""

from collections.abc import Callable

import numpy as np

from nearnorm.training.method.forest.trees import HASTY, grow_trees
from nearnorm.training.teacher.answers import answers

FOLDS = 5
FEWEST = 3
"""Labelled anomalies, below which it says nothing."""
FEWEST_ROWS = 100
"""The same of unlabelled rows."""
BESIDE = 1_400
"""Unlabelled rows that both are shown, at most."""
JUDGED = 400
"""Others that left-out anomalies are ranked among, at most."""
AHEAD = (-0.3, 0.3)
"""How far ahead of trees it has to be for none of its say, and for all of it: a difference of mean logits of
left-out anomalies' ranks."""
LEAST = 0.02
"""Added to both sides of a rank, whose logit is then finite."""

Ranking = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Labelled anomalies, unlabelled rows and rows to rank -> a figure for each, the highest the strangest."""


def belief(labelled: np.ndarray, unlabelled: np.ndarray) -> float:
    """How far it is to be believed, from 0 to 1, by labelled anomalies [A, D] and unlabelled rows [U, D] in
    random order."""
    if len(labelled) < FEWEST or len(unlabelled) < FEWEST_ROWS:
        return 0.0
    ahead = _found(answers, labelled, unlabelled) - _found(_trees, labelled, unlabelled)
    return float(np.interp(ahead, AHEAD, (0.0, 1.0)))


def _found(ranking: Ranking, labelled: np.ndarray, unlabelled: np.ndarray) -> float:
    """How high labelled anomalies rank among unlabelled rows, all of them left out: the mean logit."""
    judged = min(JUDGED, len(unlabelled) // 4)
    beside, aside = unlabelled[judged : judged + BESIDE], unlabelled[:judged]
    fold = np.arange(len(labelled)) % FOLDS
    ranks = []
    for one in range(min(FOLDS, len(labelled))):
        left_out = labelled[fold == one]
        score = ranking(labelled[fold != one], beside, np.concatenate([aside, left_out]))
        among = np.sort(score[:judged])
        below = [np.searchsorted(among, score[judged:], side) for side in ("left", "right")]
        ranks.append(np.mean(below, axis=0) / judged)
    rank = np.concatenate(ranks)
    return float(np.log((rank + LEAST) / (1.0 + LEAST - rank)).mean())


def _trees(labelled: np.ndarray, unlabelled: np.ndarray, rows: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(0)
    weight = np.ones(len(unlabelled))
    return grow_trees(unlabelled, weight, labelled, confirmed=0, rng=rng, growth=HASTY).logit(rows)

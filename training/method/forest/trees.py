"""Boosted oblivious trees: the head's second view of a record, in thresholds instead of slopes.

An oblivious tree asks the same questions of every record, so that its value is a polynomial in
the answers (0 or 1): a whole forest is a few matrix products, with no branch in the graph.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

DEPTH = 3
FOREST_SHARE = 0.7
"""The trees' part of the logit, where nothing asks for more; the MLP has the rest."""
REGULARISATION = 1e-3
"""Added to a leaf's curvature; all rows of a tree together weigh one."""


@dataclass(frozen=True)
class Growth:
    """How a boosted forest grows: its `trees`, the share of the columns that each looks at, how many random
    thresholds it tries for each of them, how many unlabelled `rows` it is grown on (the few labelled ones are
    in every tree), the share of its leaves that is added, what is added to a leaf's curvature, how many
    questions a tree has, what all labelled anomalies weigh where all unlabelled rows weigh one, and how many
    thresholds a tree tries at least, however few columns there are."""

    trees: int
    column_share: float
    questions: int
    rows: int
    rate: float
    smoothing: float
    depth: int = DEPTH
    balance: float = 1.0
    least: int = 0


HASTY = Growth(60, 0.3, 2, rows=500, rate=0.1, smoothing=REGULARISATION)
"""Sees little at a time: what a few labels say by chance is not learnt by heart."""


def thorough(anomalies: int, unlabelled: int, trust: float) -> Growth:
    """Finds what decides, where there are labels enough to tell it from chance. The more there are, and the
    more trust (0 to 1) that none is hidden among the unlabelled rows, the finer are the leaves that it
    believes, and the more thresholds it tries where columns are few. With such trust unlabelled rows are
    normal ones, and many of them weigh more than few."""
    trees = round(float(np.interp(anomalies, (30, 100), (60, 100))))
    least = round(float(np.interp(anomalies, (30, 100), (0, 100 + 150 * trust))))
    balance = min(anomalies / unlabelled, 1.0) ** (0.5 * trust)
    smoothing = 1.6 * 16.0**-trust * balance / anomalies
    depth = round(4 + 2 * trust)
    return Growth(trees, 0.6, 4, 2_000, 18.0 / trees, smoothing, depth, balance, least)


@dataclass(frozen=True)
class Trees:
    """T trees: column and threshold [T, depth] of each question, leaves [T, 2^depth].

    Bit j of a leaf's number answers "is column_j > threshold_j".
    """

    column: np.ndarray
    threshold: np.ndarray
    leaf: np.ndarray

    def logit(self, rows: np.ndarray) -> np.ndarray:
        """Rows [N, F] -> the sum of their leaves, [N]."""
        numbers = leaf_numbers(rows, self.column, self.threshold)
        total: np.ndarray = self.leaf[np.arange(len(self.leaf)), numbers].sum(1)
        return total

    def weighing(self, share: float) -> "Trees":
        """The same trees, with `share` of their say."""
        return replace(self, leaf=share * self.leaf)


NO_TREES = Trees(np.zeros((0, DEPTH), np.int64), np.zeros((0, DEPTH), np.float32), np.zeros((0, 2**DEPTH)))


@dataclass(frozen=True)
class Forest:
    """What is served, as the sum of two: trees that were `taught`, which see r and q* too, and trees as they
    were `grown` on the inputs alone. Few labels have the first, many the second. `share`: their part of the
    model's logit, in which the MLP has the rest."""

    taught: Trees = NO_TREES
    grown: Trees = NO_TREES
    share: float = FOREST_SHARE

    def logit(self, rows: np.ndarray) -> np.ndarray:
        """Rows [N, F] -> [N]."""
        total: np.ndarray = self.taught.logit(rows) + self.grown.logit(rows)
        return total


def grow_trees(
    normal: np.ndarray,
    weight: np.ndarray,
    anomalous: np.ndarray,
    *,
    confirmed: int,
    rng: np.random.Generator,
    growth: Growth,
) -> Trees:
    """Newton boosting of the logistic loss, labelled anomalies against normal rows, balanced.

    normal [U, F] with likelihoods `weight` [U], the last `confirmed` of them confirmed normals;
    anomalous [A, F].
    """
    rows = np.concatenate([normal, anomalous]).astype(np.float32)
    truth = np.repeat([0.0, 1.0], [len(normal), len(anomalous)])
    unlabelled = len(normal) - confirmed
    always = np.arange(unlabelled, len(rows))
    count, depth = growth.trees, growth.depth
    column = np.zeros((count, depth), dtype=np.int64)
    threshold = np.full((count, depth), np.inf, dtype=np.float32)
    leaf = np.zeros((count, 2**depth))
    logit = np.zeros(len(rows))
    for tree in range(count):
        some = rng.permutation(unlabelled)[: growth.rows]
        chosen = np.concatenate([some, always])
        mass = masses(weight[some], confirmed, len(anomalous), growth.balance)
        probability = 1.0 / (1.0 + np.exp(-logit[chosen]))
        gradient = mass * (truth[chosen] - probability)
        curvature = mass * probability * (1.0 - probability)
        sample = rows[chosen]
        columns, cuts = _questions(sample, len(anomalous), growth, rng)
        best, number = choose_questions(
            sample[:, columns] > cuts, gradient, curvature, growth.smoothing, depth
        )
        column[tree], threshold[tree] = columns[best], cuts[best]
        steepness = np.bincount(number, curvature, 2**depth) + growth.smoothing
        leaf[tree] = growth.rate * np.bincount(number, gradient, 2**depth) / steepness
        logit += leaf[tree][leaf_numbers(rows, column[tree : tree + 1], threshold[tree : tree + 1])[:, 0]]
    return Trees(column, threshold, leaf)


def leaf_numbers(rows: np.ndarray, column: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Rows [N, F] -> the number of the leaf they fall in, for each tree: [N, T]."""
    numbers = np.zeros((len(rows), len(column)), dtype=np.uint8)
    for level in range(column.shape[1]):
        numbers += (rows[:, column[:, level]] > threshold[:, level]).astype(np.uint8) << level
    return numbers


def choose_questions(
    answers: np.ndarray, gradient: np.ndarray, curvature: np.ndarray, smoothing: float, depth: int = DEPTH
) -> tuple[np.ndarray, np.ndarray]:
    """A tree's `depth` questions, the one that wins most at each level, and the leaf each row [N] falls in.

    answers [N, Q] to the questions there are; a row's pull and its curvature [N].
    """
    ones = answers.astype(np.float32)
    best, number = np.zeros(depth, dtype=np.int64), np.zeros(len(answers), dtype=np.int64)
    for level in range(depth):
        best[level] = _gain(ones, number, 2**level, gradient, curvature, smoothing).argmax()
        number += answers[:, best[level]].astype(np.int64) << level
    return best, number


def masses(likelihood: np.ndarray, confirmed: int, anomalies: int, balance: float = 1.0) -> np.ndarray:
    """Unlabelled rows by likelihood, confirmed normals and anomalies evenly: one share each, `balance` of one
    for anomalies."""
    shares = [
        likelihood / max(likelihood.sum(), 1e-12),
        np.full(confirmed, 1.0 / max(confirmed, 1)),
        np.full(anomalies, balance / anomalies),
    ]
    mass = np.concatenate(shares)
    total: np.ndarray = mass / mass.sum()
    return total


def _questions(
    sample: np.ndarray, anomalies: int, growth: Growth, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Columns and thresholds: between two random rows, of which every other time one is bad."""
    rows, width = sample.shape
    looked_at = min(width, max(DEPTH, round(growth.column_share * width)))
    each = max(growth.questions, math.ceil(growth.least / looked_at))
    columns = np.repeat(rng.choice(width, looked_at, replace=False), each)
    one, other = rng.integers(rows, size=(2, len(columns)))
    one[::2] = rng.integers(rows - anomalies, rows, size=len(one[::2]))
    low, high = np.sort([sample[one, columns], sample[other, columns]], axis=0)
    drawn = low + (high - low) * rng.random(len(columns), dtype=np.float32)
    # half-way between the values on either side, so that no rounding decides about a common value
    values = sample[:, columns]
    below = np.where(values <= drawn, values, -np.inf).max(0)
    above = np.where(values > drawn, values, np.inf).min(0)
    cuts = np.where(np.isfinite(above - below), 0.5 * (below + above), drawn)
    return columns, cuts.astype(np.float32)


def _gain(
    answers: np.ndarray,
    number: np.ndarray,
    leaves: int,
    gradient: np.ndarray,
    curvature: np.ndarray,
    smoothing: float,
) -> np.ndarray:
    """What each question [rows, Q] would win, over all leaves of the tree so far."""
    member = np.zeros((len(number), leaves), dtype=np.float32)
    member[np.arange(len(number)), number] = 1.0
    right_g, right_h = (
        (member * slope[:, None].astype(np.float32)).T @ answers for slope in (gradient, curvature)
    )
    all_g, all_h = (np.bincount(number, slope, leaves)[:, None] for slope in (gradient, curvature))
    left_g, left_h = all_g - right_g, (all_h - right_h).clip(min=0.0)
    gain: np.ndarray = (right_g**2 / (right_h + smoothing) + left_g**2 / (left_h + smoothing)).sum(0)
    return gain

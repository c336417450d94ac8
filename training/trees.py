"""Boosted oblivious trees: the head's second view of a record, in thresholds instead of slopes.

An oblivious tree asks the same question of every record at a level, so its leaf is a number whose
bits are the answers: a whole forest is a few gathers, with no branch in the exported graph.
"""

from dataclasses import dataclass

import numpy as np

ROWS_PER_TREE = 1_000
"""Normal rows that a tree is grown on; the few labelled ones are in every tree."""
COLUMN_SHARE = 0.3
QUESTIONS = 2
"""Random thresholds tried for each column of a tree."""
LEARNING_RATE = 0.1
REGULARISATION = 1e-2
"""Added to a leaf's curvature; all rows of a tree together weigh one."""


@dataclass(frozen=True)
class Trees:
    """T trees of depth d: column and threshold [T, d] of each question, leaves [T, 2^d].

    Bit j of a leaf's number answers "is column_j > threshold_j". A soft column is asked at most
    once in a tree, and first.
    """

    column: np.ndarray
    threshold: np.ndarray
    leaf: np.ndarray


def grow_trees(
    normal: np.ndarray,
    weight: np.ndarray,
    anomalous: np.ndarray,
    *,
    confirmed: int,
    soft: int,
    count: int,
    depth: int,
    rng: np.random.Generator,
) -> Trees:
    """Newton boosting of the logistic loss, labelled anomalies against normal rows, balanced.

    normal [U, F] with likelihoods `weight` [U], the last `confirmed` of them confirmed normals;
    anomalous [A, F]; the last `soft` columns are the soft ones.
    """
    rows = np.concatenate([normal, anomalous]).astype(np.float32)
    truth = np.repeat([0.0, 1.0], [len(normal), len(anomalous)])
    unlabelled = len(normal) - confirmed
    always = np.arange(unlabelled, len(rows))
    column = np.zeros((count, depth), dtype=np.int64)
    threshold = np.full((count, depth), np.inf, dtype=np.float32)
    leaf = np.zeros((count, 2**depth))
    logit = np.zeros(len(rows))
    for tree in range(count):
        some = rng.permutation(unlabelled)[:ROWS_PER_TREE]
        chosen = np.concatenate([some, always])
        mass = _masses(weight[some], confirmed, len(anomalous))
        probability = 1.0 / (1.0 + np.exp(-logit[chosen]))
        gradient = mass * (truth[chosen] - probability)
        curvature = mass * probability * (1.0 - probability)
        sample = rows[chosen]
        columns, cuts = _questions(sample, len(anomalous), rng)
        answers = (sample[:, columns] > cuts).astype(np.float32)
        number = np.zeros(len(chosen), dtype=np.int64)
        open_questions = np.ones(len(columns), dtype=bool)
        for level in range(depth):
            gain = _gain(answers, number, 2**level, gradient, curvature)
            best = int(np.where(open_questions, gain, -1.0).argmax())
            column[tree, level], threshold[tree, level] = columns[best], cuts[best]
            number += answers[:, best].astype(np.int64) << level
            if columns[best] >= rows.shape[1] - soft:
                open_questions &= columns < rows.shape[1] - soft
            if not open_questions.any():
                break
        steepness = np.bincount(number, curvature, 2**depth) + REGULARISATION
        leaf[tree] = LEARNING_RATE * np.bincount(number, gradient, 2**depth) / steepness
        logit += leaf[tree][leaf_numbers(rows, column[tree : tree + 1], threshold[tree : tree + 1])[:, 0]]
    return _soft_first(Trees(column, threshold, leaf), rows.shape[1] - soft)


def leaf_numbers(rows: np.ndarray, column: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Rows [N, F] -> the number of the leaf they fall in, for each tree: [N, T]."""
    answers = rows[:, column] > threshold
    numbers: np.ndarray = (answers << np.arange(column.shape[1])).sum(2)
    return numbers


def _masses(likelihood: np.ndarray, confirmed: int, anomalies: int) -> np.ndarray:
    """Unlabelled rows by likelihood, confirmed normals and anomalies evenly: one share each."""
    shares = [
        likelihood / max(likelihood.sum(), 1e-12),
        np.full(confirmed, 1.0 / max(confirmed, 1)),
        np.full(anomalies, 1.0 / anomalies),
    ]
    mass = np.concatenate(shares)
    total: np.ndarray = mass / mass.sum()
    return total


def _questions(sample: np.ndarray, anomalies: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Columns and thresholds: between two random rows, of which every other time one is bad."""
    rows, width = sample.shape
    columns = rng.choice(width, max(1, round(COLUMN_SHARE * width)), replace=False)
    columns = np.repeat(columns, QUESTIONS)
    one, other = rng.integers(rows, size=(2, len(columns)))
    one[::2] = rng.integers(rows - anomalies, rows, size=len(one[::2]))
    low, high = np.sort([sample[one, columns], sample[other, columns]], axis=0)
    cuts = low + (high - low) * rng.random(len(columns), dtype=np.float32)
    return columns, cuts.astype(np.float32)


def _gain(
    answers: np.ndarray, number: np.ndarray, leaves: int, gradient: np.ndarray, curvature: np.ndarray
) -> np.ndarray:
    """What each question [rows, Q] would win, over all leaves of the tree so far."""
    member = np.zeros((len(number), leaves), dtype=np.float32)
    member[np.arange(len(number)), number] = 1.0
    right_g, right_h = (
        (member * slope[:, None].astype(np.float32)).T @ answers for slope in (gradient, curvature)
    )
    all_g, all_h = (np.bincount(number, slope, leaves)[:, None] for slope in (gradient, curvature))
    left_g, left_h = all_g - right_g, (all_h - right_h).clip(min=0.0)
    gain: np.ndarray = (right_g**2 / (right_h + REGULARISATION) + left_g**2 / (left_h + REGULARISATION)).sum(
        0
    )
    return gain


def _soft_first(trees: Trees, first_soft: int) -> Trees:
    """Swap each tree's soft question to level 0, and the leaves' bits with it."""
    column, threshold, leaf = trees.column.copy(), trees.threshold.copy(), trees.leaf.copy()
    numbers = np.arange(leaf.shape[1])
    for tree, level in zip(*np.nonzero(trees.column >= first_soft), strict=True):
        for table in (column, threshold):
            table[tree, [0, level]] = table[tree, [level, 0]]
        low, high = numbers & 1, (numbers >> level) & 1
        swapped = numbers - low - (high << level) + high + (low << level)
        if level:
            leaf[tree] = trees.leaf[tree][swapped]
    return Trees(column, threshold, leaf)

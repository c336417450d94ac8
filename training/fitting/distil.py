"""One small forest that answers as the mean of several large ones.

A few labels leave much to chance: forests grown with other random numbers differ, and their mean is
better than any of them. It need not be served: every row has its logit, where ten have a label, so that a
small forest can learn it.

Of labelled rows r and q* are optimistic, as training has moved those very rows. With ten labels trees need
that evidence all the same; with thirty the inputs alone tell as much, and forests that see nothing else make
up for it. How much they are listened to is decided by the labels there are.
"""

from collections.abc import Sequence

import numpy as np

from nearnorm.training.method.trees import (
    DEPTH,
    REGULARISATION,
    THOROUGH,
    Trees,
    choose_questions,
    grow_trees,
    masses,
)

FEW, MANY = 10, 30
"""Labelled anomalies up to which forests of the inputs alone have no say, and from which on they have all of
theirs."""
THOROUGH_SHARE = 0.5
ROWS = 20_000
"""Most unlabelled rows that the mean is learnt on."""
QUESTIONS = 40
"""Of the forests' own, tried for each tree."""
STEP = 0.35
"""Of the way to the mean that a tree goes when it is grown."""
RIDGE = 1e-3
"""Added to the curvature of leaves when they are fitted together; all rows weigh one."""


def mean_forest(
    normal: np.ndarray,
    weight: np.ndarray,
    anomalous: np.ndarray,
    *,
    inputs: int,
    confirmed: int,
    forests: int,
    count: int,
    rng: np.random.Generator,
) -> Trees:
    """`count` trees that answer as `forests` hasty forests do on average, and with more than FEW labelled
    anomalies half as many thorough ones, which see the first `inputs` columns alone.

    Rows as in `grow_trees`, the unlabelled ones in random order.
    """
    hasty = [grow_trees(normal, weight, anomalous, confirmed=confirmed, rng=rng) for _ in range(forests)]
    share = thorough_share(len(anomalous))
    seen, bad = normal[:, :inputs], anomalous[:, :inputs]
    thorough = [
        grow_trees(seen, weight, bad, confirmed=confirmed, rng=rng, growth=THOROUGH)
        for _ in range(-(-forests // 2) if share else 0)
    ]
    unlabelled = len(normal) - confirmed
    taught = min(unlabelled, ROWS)
    rows = np.concatenate([normal[:taught], normal[unlabelled:], anomalous]).astype(np.float32)
    wanted = np.mean([one.logit(rows) for one in hasty], axis=0)
    if thorough:
        wanted = (1 - share) * wanted + share * np.mean([one.logit(rows) for one in thorough], axis=0)
    mass = masses(weight[:taught], confirmed, len(anomalous))
    return distil([*hasty, *thorough], wanted, rows, mass, count, rng)


def thorough_share(anomalies: int) -> float:
    """Of the thorough forests in the mean, by the number of labelled anomalies."""
    return THOROUGH_SHARE * min(max((anomalies - FEW) / (MANY - FEW), 0.0), 1.0)


def distil(
    forests: Sequence[Trees],
    wanted: np.ndarray,
    rows: np.ndarray,
    mass: np.ndarray,
    count: int,
    rng: np.random.Generator,
) -> Trees:
    """`count` trees that answer as `wanted` [N], by least squares on rows [N, F] that weigh `mass` [N], one
    in all, and ask what the forests ask.

    Boosting chooses their questions, and then all leaves are fitted together.
    """
    columns = np.concatenate([one.column.ravel() for one in forests])
    thresholds = np.concatenate([one.threshold.ravel() for one in forests])
    start = float(mass @ wanted)
    missing = wanted - start
    column = np.zeros((count, DEPTH), dtype=np.int64)
    threshold = np.zeros((count, DEPTH), dtype=np.float32)
    leaf = np.zeros((count, 2**DEPTH))
    number = np.zeros((count, len(rows)), dtype=np.int64)
    for tree in range(count):
        some = rng.integers(len(columns), size=QUESTIONS)
        pull = mass * missing
        best, number[tree] = choose_questions(rows[:, columns[some]] > thresholds[some], pull, mass)
        column[tree], threshold[tree] = columns[some[best]], thresholds[some[best]]
        weight = np.bincount(number[tree], mass, 2**DEPTH) + REGULARISATION
        leaf[tree] = STEP * np.bincount(number[tree], pull, 2**DEPTH) / weight
        missing -= leaf[tree][number[tree]]
    leaf += _together(number, mass, missing)
    leaf[0] += start
    return Trees(column, threshold, leaf)


def _together(number: np.ndarray, mass: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """What all leaves [T, 2^DEPTH] have to change by at once, for the leaves [T, N] that rows are in."""
    count, leaves = len(number), 2**DEPTH
    inside = np.zeros((number.shape[1], count * leaves), dtype=np.float32)
    inside[np.arange(len(inside))[:, None], number.T + leaves * np.arange(count)] = 1.0
    weighted = inside * mass[:, None].astype(np.float32)
    normal = (weighted.T @ inside).astype(np.float64)
    normal[np.diag_indices_from(normal)] += RIDGE
    change: np.ndarray = np.linalg.solve(normal, weighted.T @ missing.astype(np.float32))
    return change.reshape(count, leaves)

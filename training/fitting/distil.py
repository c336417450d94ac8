"""The forest that is served: what the labels there are can teach.

A few labels leave much to chance: forests grown with other random numbers differ, and their mean is
better than any of them. It need not be served: every row has its logit, where ten have a label, so that a
small forest can learn it.

Of labelled rows r and q* are optimistic, as training has moved those very rows. With ten labels trees need
that evidence all the same, unless labelled anomalies looked ordinary before (ordinary.py): then most of what
teaches sees the inputs alone. With thirty the inputs tell as much, and with a hundred more. So the more
labels there are, the more a thorough forest of the inputs alone is listened to, which is served as it grew:
what many labels tell, a small forest cannot learn at second hand. Where held-out labels stand out from all
that nobody labelled, few anomalies are hidden, and it is believed in finer things and listened to most.

Beside the forests teaches a network that learnt on made-up tasks (teacher/), as far as it is no worse than
trees at finding labelled anomalies which neither was shown.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nearnorm.training.fitting.told_apart import told_apart
from nearnorm.training.method.enough import enough
from nearnorm.training.method.forest.trees import (
    DEPTH,
    FOREST_SHARE,
    HASTY,
    REGULARISATION,
    Forest,
    Trees,
    choose_questions,
    grow_trees,
    masses,
    thorough,
)
from nearnorm.training.teacher.answers import answers
from nearnorm.training.teacher.evidence import belief

LABELS = (10, 30, 100)
SHARES = (0.0, 0.7, 1.0)
"""Of the forest of the inputs alone, with so many labelled anomalies; between them in proportion."""
TOLD_APART = (0.35, 0.75)
"""How well labelled anomalies are told apart for no trust that none is hidden, and for all of it."""
ORDINARY_ALONE = 0.7
"""Of the hasty forests see the inputs alone, where labelled anomalies are wholly ordinary."""
ORDINARY_MORE = 0.15
"""Of the logit the trees have more there: the MLP goes by the embedding, r and q*."""
PRETRAINED = 0.57
"""Of what is taught, the pre-trained teacher's, where it is wholly believed."""
PRETRAINED_ROWS = 4_000
"""Most unlabelled rows that trees are taught on where it teaches."""
MORE_TREES = 140
"""Most that a hasty forest grows beyond its own, one for each confirmed normal, where there are anomalies
enough: what looked bad and is not takes more to tell apart."""
ROWS = 20_000
"""Most unlabelled rows that the mean is learnt on."""
QUESTIONS = 40
"""Of the forests' own, tried for each tree."""
STEP = 0.35
"""Of the way to the mean that a tree goes when it is grown."""
RIDGE = 1e-3
"""Added to the curvature of leaves when they are fitted together; all rows weigh one."""


def served_forest(
    normal: np.ndarray,
    weight: np.ndarray,
    anomalous: np.ndarray,
    *,
    inputs: int,
    confirmed: int,
    forests: int,
    ordinary: float,
    count: int,
    rng: np.random.Generator,
) -> Forest:
    """Up to ten labelled anomalies: `count` trees that answer as `forests` hasty forests do on average. With
    more of them fewer such trees, or none, and beside them a thorough forest, which sees the first `inputs`
    columns alone, as do hasty ones the more `ordinary` (0 to 1) the labelled anomalies are.

    Rows as in `grow_trees`, the unlabelled ones in random order.
    """
    anomalies = len(anomalous)
    alone = round(ORDINARY_ALONE * ordinary * forests)
    sees = [inputs] * alone + [normal.shape[1]] * (forests - alone)
    if anomalies <= LABELS[0]:
        taught = _taught(normal, weight, anomalous, confirmed, sees, inputs, count, rng)
        return Forest(taught, share=trees_share(ordinary, 0.0))
    seen, bad = normal[:, :inputs], anomalous[:, :inputs]
    trust = float(np.interp(told_apart(seen, weight, bad, rng), TOLD_APART, (0.0, 1.0)))
    trust *= float(np.interp(anomalies, LABELS[:2], (0.0, 1.0)))  # of few labels it tells little
    share = thorough_share(anomalies, trust)
    say = trees_share(ordinary, share)
    growth = thorough(anomalies, len(normal) - confirmed, trust)
    grown = grow_trees(seen, weight, bad, confirmed=confirmed, rng=rng, growth=growth)
    if share == 1.0:
        return Forest(grown=grown, share=say)
    few = max(round((1.0 - share) * count), 1)
    taught = _taught(normal, weight, anomalous, confirmed, sees, inputs, few, rng)
    return Forest(taught.weighing(1.0 - share), grown.weighing(share), say)


def _taught(
    normal: np.ndarray,
    weight: np.ndarray,
    anomalous: np.ndarray,
    confirmed: int,
    sees: Sequence[int],
    inputs: int,
    count: int,
    rng: np.random.Generator,
) -> Trees:
    """`count` trees that answer as hasty forests do on average, of which each `sees` so many columns.

    Where the pre-trained teacher is believed, which sees the first `inputs`, twice as many, that answer as
    both do.
    """
    more = min(confirmed, round(MORE_TREES * enough(len(anomalous))))
    growth = replace(HASTY, trees=HASTY.trees + more)
    hasty = [
        grow_trees(
            normal[:, :width], weight, anomalous[:, :width], confirmed=confirmed, rng=rng, growth=growth
        )
        for width in sees
    ]
    unlabelled = len(normal) - confirmed
    seen, bad = normal[:unlabelled, :inputs], anomalous[:, :inputs]
    believed = _believed(seen, bad)
    taught = min(unlabelled, PRETRAINED_ROWS if believed else ROWS)
    rows = np.concatenate([normal[:taught], normal[unlabelled:], anomalous]).astype(np.float32)
    wanted = np.mean([one.logit(rows) for one in hasty], axis=0)
    if believed:
        others = _as_high(answers(bad, seen, seen[:taught]), wanted[:taught])
        wanted[:taught] += PRETRAINED * believed * (others - wanted[:taught])
        count *= 2
    mass = masses(weight[:taught], confirmed, len(anomalous))
    return distil(hasty, wanted, rows, mass, count, rng)


def _believed(unlabelled: np.ndarray, anomalous: np.ndarray) -> float:
    """The pre-trained teacher's say, from 0 to 1: with more than ten labels less, with thirty none."""
    room = float(np.interp(len(anomalous), LABELS[:2], (1.0, 0.0)))
    return room * belief(anomalous, unlabelled) if room else 0.0


def _as_high(others: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """The `logits` in the order of `others`, both [N], so that two teachers' answers have one spread."""
    found = np.empty_like(logits)
    found[np.argsort(others, kind="stable")] = np.sort(logits)
    return found


def thorough_share(anomalies: int, trust: float) -> float:
    """Of the thorough forest in what is served, by the number of labelled anomalies and the trust that no
    other is hidden."""
    share = float(np.interp(anomalies, LABELS, SHARES))
    return share + trust * (1.0 - share)


def trees_share(ordinary: float, thorough: float) -> float:
    """The trees' part of the logit: more where labelled anomalies are `ordinary`, but for the share of a
    `thorough` forest, which sees the inputs alone whatever they are."""
    return FOREST_SHARE + ORDINARY_MORE * ordinary * (1.0 - thorough)


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
        best, number[tree] = choose_questions(
            rows[:, columns[some]] > thresholds[some], pull, mass, REGULARISATION
        )
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

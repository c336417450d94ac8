"""Whether labelled anomalies can be told apart from all that nobody labelled, by rows that were held out.

Where they can, few anomalies are hidden among the unlabelled rows, and what trees learn of fine differences
is true. Where they cannot, either anomalies are hidden, or they are like normal rows: both ask for caution.
"""

import numpy as np

from nearnorm.training.method.forest.trees import Growth, grow_trees

FOLDS = 3


def told_apart(
    normal: np.ndarray, weight: np.ndarray, anomalous: np.ndarray, rng: np.random.Generator
) -> float:
    """The share of labelled ones among the rows, as many as there are labelled anomalies, that small forests
    put highest which were grown without them. Rows as in `grow_trees`, none of them confirmed.
    """
    anomalies = len(anomalous)
    growth = Growth(30, 0.3, 3, rows=1_000, rate=0.4, smoothing=0.4 / anomalies, depth=4)
    fold_u, fold_a = rng.integers(FOLDS, size=len(normal)), rng.permutation(anomalies) % FOLDS
    logit_u, logit_a = np.zeros(len(normal)), np.zeros(anomalies)
    for fold in range(FOLDS):
        inside_u, inside_a = fold_u == fold, fold_a == fold
        trees = grow_trees(
            normal[~inside_u], weight[~inside_u], anomalous[~inside_a], confirmed=0, rng=rng, growth=growth
        )
        logit_u[inside_u] = trees.logit(normal[inside_u])
        logit_a[inside_a] = trees.logit(anomalous[inside_a])
    highest = np.argsort(-np.concatenate([logit_u, logit_a]), kind="stable")[:anomalies]
    return float((highest >= len(normal)).mean())

"""Average precision of a ranking: scikit-learn's, without the second that loading it takes."""

import numpy as np


def average_precision(truth: np.ndarray, score: np.ndarray) -> float:
    """How many of the rows down to each anomaly are anomalies, on average over them; truth [N] is 1 for one.

    Rows with the same score count together. There has to be an anomaly.
    """
    order = np.argsort(-np.asarray(score), kind="stable")
    truth, score = np.asarray(truth)[order] == 1, np.asarray(score)[order]
    last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)
    found = np.cumsum(truth)[last]
    return float(found / (last + 1) @ np.diff(found, prepend=0) / found[-1])

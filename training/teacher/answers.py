"""How unlike normal rows the teacher takes each row to be, by what it has learnt and the labels there are."""

import numpy as np
import torch

from nearnorm.training.teacher.cells import Beside
from nearnorm.training.teacher.weights import teacher

KNOWN = 128
"""Unlabelled rows that the network compares with."""
BESIDE = 2_500
"""Unlabelled rows that ranks are taken among."""
COLUMNS = 64
"""Most that it looks at: those in which labelled anomalies differ most."""
AT_ONCE = 512


def answers(labelled: np.ndarray, unlabelled: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Labelled anomalies [A, D], unlabelled rows [U, D] in random order, and rows [N, D] -> logits [N].
    Without a column that varies all are zero."""
    beside = unlabelled[:BESIDE].astype(np.float64)
    columns = _telling(labelled, beside)
    if len(columns) == 0:
        return np.zeros(len(rows))
    seen = Beside(labelled[:, columns].astype(np.float64), beside[:, columns])
    few, many = seen.labelled_cells(), seen.unlabelled_cells(KNOWN)
    found = []
    with torch.no_grad():
        known = teacher().compare_with(*map(torch.from_numpy, (few, many, seen.columns(few, many))))
        for start in range(0, len(rows), AT_ONCE):
            cells = seen.cells(rows[start : start + AT_ONCE, columns].astype(np.float64))
            found.append(teacher().answer(torch.from_numpy(cells), known).numpy())
    return np.concatenate(found)


def _telling(labelled: np.ndarray, unlabelled: np.ndarray) -> np.ndarray:
    """Which columns vary, and of many those whose means are furthest apart."""
    deviation = unlabelled.std(0)
    apart = np.abs(labelled.mean(0) - unlabelled.mean(0)) / np.where(deviation > 0, deviation, np.inf)
    varies = np.flatnonzero(deviation > 0)
    return np.sort(varies[np.argsort(-apart[varies], kind="stable")[:COLUMNS]])

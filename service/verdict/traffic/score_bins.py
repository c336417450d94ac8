"""Bins of scores: fine where alert thresholds lie, so that a threshold is always the edge of one.

A bin is a sixty-fourth of a unit of log odds. All rows of a bin alert or none does, so that what a threshold
raised on past traffic is known exactly, ties included.
"""

import numpy as np
from numpy.typing import NDArray

_STEP = 1 / 64
_LOW, _HIGH = -8.0, 17.0  # of log odds: beyond it float32 knows no more scores


def _edges() -> NDArray[np.float32]:
    odds = np.arange(_LOW, _HIGH, _STEP)
    edges = np.append(0.0, 1.0 / (1.0 + np.exp(-odds))).astype(np.float32)
    ascending: NDArray[np.float32] = edges[np.append(True, np.diff(edges) > 0.0)]
    return ascending  # np.unique would load numpy.ma


EDGES: NDArray[np.float32] = _edges()
"""The lowest score of each bin, ascending; the first is 0."""
BINS = len(EDGES)


def bins_of(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """The bin of each score [N]."""
    return EDGES.searchsorted(scores, side="right") - 1


def count(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """[BINS] rows by bin."""
    return np.bincount(bins_of(scores), minlength=BINS)

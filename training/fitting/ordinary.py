"""How ordinary labelled anomalies looked to networks that had learnt no label.

Once labels are learnt, labelled rows lie far from the prototypes and are rebuilt badly: training moved them.
Whether others of their kind do is told by what was before. Anomalies that were rebuilt as well as any record
are not unusual, only of a kind, and r and q* say little of those that nobody labelled.
"""

import numpy as np

RANKS = (0.6, 0.7)
"""Mean rank of the labelled ones' reconstruction error among held-out rows for wholly ordinary, and not at
all."""
LABELS = (5, 10)
"""Labelled anomalies of which that is not believed, and wholly: a mean of five ranks is a rough one."""


def ordinary(held_out: np.ndarray, anomalous: np.ndarray) -> float:
    """From 0 (not at all, or there are too few to tell by) to 1, by reconstruction errors [H] and [A]."""
    if len(anomalous) <= LABELS[0]:
        return 0.0
    ordered = np.sort(held_out)
    below = [np.searchsorted(ordered, anomalous, side) for side in ("left", "right")]
    rank = float(np.mean(below)) / len(ordered)
    return float(np.interp(rank, RANKS, (1.0, 0.0)) * np.interp(len(anomalous), LABELS, (0.0, 1.0)))

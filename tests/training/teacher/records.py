"""Rows with anomalies that a few labels show, and rows that they say nothing of."""

import numpy as np


def records(seed: int, anomalies: int, rows: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Unlabelled rows [rows, 5] and anomalies [anomalies, 5], which are high in two columns together."""
    rng = np.random.default_rng(seed)
    unlabelled = rng.normal(size=(rows, 5))
    unlabelled[:, 4] = np.round(unlabelled[:, 4])
    bad = rng.normal(size=(anomalies, 5))
    bad[:, :2] += 2.5
    bad[:, 4] = np.round(bad[:, 4])
    return unlabelled.astype(np.float32), bad.astype(np.float32)

"""What several columns tell together, as more columns: how unusual a row is, and how near to labelled
anomalies.
"""

import numpy as np

COMPONENTS = 5
HALF = 8
"""Principal components at most that are left out where unusual rows are looked for."""
NEAR = 256
"""Unlabelled rows that kernels compare with."""
RIDGE = 0.1
"""Of the mean variance, added to the covariance."""
TINY = 1e-6


class Derived:
    """Of labelled anomalies [A, D] and unlabelled rows [U, D], all normal scores of ranks."""

    def __init__(self, labelled: np.ndarray, unlabelled: np.ndarray) -> None:
        width = labelled.shape[1]
        self.labelled = labelled
        self.middle = unlabelled.mean(0)
        centred = unlabelled - self.middle
        covariance = centred.T @ centred / len(centred)
        self.axes = np.linalg.eigh(covariance)[1][:, ::-1]
        self.components = min(COMPONENTS, width)
        self.half = max(1, min(HALF, width // 2))
        ridge = RIDGE * np.trace(covariance) / width + TINY
        self.inverse = np.linalg.inv(covariance + ridge * np.eye(width))
        self.near = unlabelled[:NEAR]
        cut = len(self.near) // 2
        self.scale = float(np.median(_squared(self.near[:cut], self.near[cut:]))) + 1e-9

    @property
    def unsupervised(self) -> int:
        """How many of the columns know no label."""
        return int(self.components) + 2

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Rows [N, D] -> [N, unsupervised + 3]."""
        direction = self.inverse @ (self.labelled - self.middle).mean(0)
        told = self._told(rows, _squared(rows, self.labelled), (rows - self.middle) @ direction)
        return np.concatenate([self._unusual(rows), told], axis=1)

    def of_labelled(self) -> np.ndarray:
        """The same of the labelled anomalies, each as if it had no label."""
        squared = _squared(self.labelled, self.labelled)
        count = len(squared)
        np.fill_diagonal(squared, np.inf if count > 1 else self.scale)
        centred = self.labelled - self.middle
        gram = centred @ self.inverse @ centred.T
        along = (gram.sum(1) - np.diag(gram)) / max(count - 1, 1)
        return np.concatenate(
            [self._unusual(self.labelled), self._told(self.labelled, squared, along)], axis=1
        )

    def _unusual(self, rows: np.ndarray) -> np.ndarray:
        """Components, what the first half of them leaves, and size."""
        centred = rows - self.middle
        turned = centred @ self.axes
        left = (turned[:, self.half :] ** 2).sum(1, keepdims=True)
        size = (centred**2).mean(1, keepdims=True)
        return np.concatenate([turned[:, : self.components], left, size], axis=1)

    def _told(self, rows: np.ndarray, squared: np.ndarray, along: np.ndarray) -> np.ndarray:
        """A linear and a kernel classifier, and the nearest labelled row, by distances [N, A] to those."""
        others = max(int(np.isfinite(squared).sum(1)[0]), 1)
        width = 0.25 * self.scale
        like = np.exp(-squared / width).sum(1) / others
        common = np.exp(-_squared(rows, self.near) / width).mean(1)
        nearest = -np.log(squared.min(1) / self.scale + 1e-3)
        return np.stack([along, np.log(like + TINY) - np.log(common + TINY), nearest], axis=1)


def _squared(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Squared distances [N, M]."""
    lengths = (rows**2).sum(1)[:, None] + (others**2).sum(1)
    squared: np.ndarray = np.maximum(lengths - 2.0 * rows @ others.T, 0.0)
    return squared

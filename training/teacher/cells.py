"""What the teacher sees of a cell: its rank, how common its value is, and how much more labelled anomalies
are like it than unlabelled rows are; and what it sees of a column.

Nothing of this depends on a column's unit or meaning, so that what was learnt on made-up columns holds for
any.
"""

from typing import NamedTuple

import numpy as np
import torch

from nearnorm.training.teacher.derived import Derived

WIDTHS = (0.25, 0.1, 0.04)
"""Of the kernels that compare ranks."""
PRIOR = 0.5
"""Labelled rows that are taken to lie as unlabelled ones do."""
RAREST = 1 / 500
"""Least share of the unlabelled rows that a value is taken to have."""
CLIPPED = 12.0
CELL = 8
COLUMN = 16


class _Placed(NamedTuple):
    """Rows [N, D'], each value's rank among unlabelled ones, and the share of those that have it."""

    rows: np.ndarray
    ranks: np.ndarray
    shares: np.ndarray


class Beside:
    """Rows beside labelled anomalies [A, D] and unlabelled rows [U, D], of which every column varies."""

    def __init__(self, labelled: np.ndarray, unlabelled: np.ndarray) -> None:
        self.plain = labelled.shape[1]
        self.unlabelled = unlabelled
        self.ordered = np.sort(unlabelled.T)  # a line for each column: quicker to search
        few, many = (_ranks(rows, self.ordered) for rows in (labelled, unlabelled))
        scores = _normal(many[0])
        self.derived = Derived(_normal(few[0]), scores)
        self.ordered_derived = np.sort(self.derived.of(scores).T)
        self.labelled = self._whole(labelled, few, self.derived.of_labelled())

    def cells(self, rows: np.ndarray) -> np.ndarray:
        """Rows [N, D] -> [N, D', CELL], where D' counts the derived columns, too."""
        ranks = _ranks(rows, self.ordered)
        return self._cells(self._whole(rows, ranks, self.derived.of(_normal(ranks[0]))))

    def unlabelled_cells(self, count: int) -> np.ndarray:
        """Of the first `count` unlabelled rows."""
        return self.cells(self.unlabelled[:count])

    def labelled_cells(self) -> np.ndarray:
        """Of the labelled anomalies, each as if it had no label."""
        return self._cells(self.labelled, itself=True)

    def columns(self, labelled_cells: np.ndarray, unlabelled_cells: np.ndarray) -> np.ndarray:
        """What is seen of each column: [D', COLUMN]."""
        count, width = self.labelled.rows.shape
        kinds = np.zeros((width, 3))
        supervised = self.plain + self.derived.unsupervised
        kinds[: self.plain, 0] = kinds[self.plain : supervised, 1] = kinds[supervised:, 2] = 1.0
        mean = self.labelled.ranks.mean(0)
        seen = [
            *labelled_cells[:, :, 2:].mean(0).T,
            2.0 * mean - 1.0,
            (mean - 0.5) * np.sqrt(12.0 * count),
            self.labelled.ranks.std(0),
            np.abs(labelled_cells[:, :, 0]).mean(0),
            unlabelled_cells[:, :, 1].mean(0),
            np.full(width, np.log(count)),
            np.full(width, np.log(self.plain)),
            *kinds.T,
        ]
        return _clipped(np.stack(seen, axis=1))

    def _whole(self, rows: np.ndarray, ranks: tuple[np.ndarray, np.ndarray], derived: np.ndarray) -> _Placed:
        """Rows and their `ranks`, with the `derived` columns beside."""
        more = _ranks(derived, self.ordered_derived)
        both = [np.concatenate(pair, axis=1) for pair in ((rows, derived), *zip(ranks, more, strict=True))]
        return _Placed(*both)

    def _cells(self, placed: _Placed, itself: bool = False) -> np.ndarray:
        rows, ranks, shares = placed.rows, placed.ranks, placed.shares
        labelled = self.labelled
        count = len(labelled.rows)
        others = ~np.eye(count, dtype=bool) if itself else np.ones((count, len(rows)), dtype=bool)
        known = count - itself

        def ratio(like: np.ndarray, common: np.ndarray) -> np.ndarray:
            told: np.ndarray = np.log((like + PRIOR * common) / ((known + PRIOR) * common))
            return told

        same = ((rows == labelled.rows[:, None]) & others[..., None]).sum(0)
        seen = [_normal(ranks), np.log(shares), ratio(same, shares)]
        apart = ranks - labelled.ranks[:, None]  # [A, N, D']
        for width in WIDTHS:
            like = (np.exp(-0.5 * (apart / width) ** 2) * others[..., None]).sum(0) / (
                width * np.sqrt(2 * np.pi)
            )
            seen.append(ratio(like, _below((1.0 - ranks) / width) - _below(-ranks / width)))
        for side, tail in ((1.0, 1.0 - ranks), (-1.0, ranks)):
            beyond = ((side * apart <= 1e-9) & others[..., None]).sum(0)
            seen.append(ratio(beyond, np.clip(tail, 0.25 * RAREST, 1.0)))
        return _clipped(np.stack(seen, axis=-1))


def _ranks(rows: np.ndarray, ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each value's rank [N, D] among the ordered ones of its column [D, U], and the share of those that have
    it."""
    below, up_to = np.empty(rows.shape), np.empty(rows.shape)
    for column, values in enumerate(rows.T):
        order = values.argsort()  # values in order are found a few times as fast
        below[order, column] = np.searchsorted(ordered[column], values[order], "left")
        up_to[order, column] = np.searchsorted(ordered[column], values[order], "right")
    count = ordered.shape[1]
    return (below + up_to) / 2 / count, np.maximum((up_to - below) / count, RAREST)


def _normal(ranks: np.ndarray) -> np.ndarray:
    inside = np.clip(ranks, 0.5 * RAREST, 1.0 - 0.5 * RAREST)
    score: np.ndarray = torch.special.ndtri(torch.from_numpy(inside)).numpy()
    return score


def _below(score: np.ndarray) -> np.ndarray:
    below: np.ndarray = torch.special.ndtr(torch.from_numpy(score)).numpy()
    return below


def _clipped(seen: np.ndarray) -> np.ndarray:
    clipped: np.ndarray = np.clip(seen, -CLIPPED, CLIPPED).astype(np.float32)
    return clipped

"""Which of N rows are drawn: n places, all alike likely, in the order of the rows' contents.

Equal rows stand next to each other in that order, each at a place of its own: each has its chance. What lies
at a place takes no list of N rows: rows are counted in cells, by how their contents begin, and only the cells
that a drawn place falls into are looked at.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearnorm.training.dataset.lake.contents import Words

MOST_BITS = 26
"""2^26 cells take 256 MiB, and hold one row or two of a hundred million."""
_BLOCK = 1 << 20


@dataclass(frozen=True)
class ContentCells:
    """Which of 2^`bits` cells a row falls into."""

    bits: int

    def of(self, words: Words) -> NDArray[np.uint32]:
        return (words >> np.uint64(64 - self.bits)).astype(np.uint32)


class ContentCounts:
    """How many rows there are whose contents begin alike: `loads` of the `cells`."""

    def __init__(self, rows: int, most_bits: int = MOST_BITS) -> None:
        self.cells = ContentCells(max(1, min(rows.bit_length(), most_bits)))
        self.loads = np.zeros(1 << self.cells.bits, np.uint32)

    def count(self, cells: NDArray[np.uint32]) -> None:
        """One more in the cell of each row [N]."""
        np.add.at(self.loads, cells, np.uint32(1))  # of another type it takes twenty times as long


@dataclass(frozen=True)
class Places:
    """`drawn` [n] are places in the order of contents, ascending; they fall into `cells` [C], ascending,
    whose first row stands at `starts` [C] and which hold `loads` [C] rows."""

    drawn: NDArray[np.int64]
    cells: NDArray[np.int64]
    starts: NDArray[np.int64]
    loads: NDArray[np.int64]

    def at(self, cells: NDArray[np.uint32], counts: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Which of the distinct contents lie at the drawn places [n], given the cell and the number of rows
        of each [H], in order. None where they are not the rows that were counted."""
        where = np.searchsorted(self.cells, cells)
        sums = np.bincount(where, counts, len(self.cells)).astype(np.int64)
        if not np.array_equal(sums, self.loads):
            return None
        within = np.cumsum(counts) - np.repeat(
            np.cumsum(sums) - sums, np.bincount(where, minlength=len(sums))
        )
        ends = self.starts[where] + within
        return np.searchsorted(ends, self.drawn, side="right")


def draw_places(counts: ContentCounts, count: int, seed: int) -> Places:
    """`count` places of all that were counted, without replacement."""
    rows = int(counts.loads.sum(dtype=np.int64))
    rng = np.random.default_rng([seed, 5])
    drawn = np.sort(rng.choice(rows, count, replace=False, shuffle=False))
    found, starts, first = [], [], 0
    for begin in range(0, len(counts.loads), _BLOCK):
        loads = counts.loads[begin : begin + _BLOCK].astype(np.int64)
        ends = first + np.cumsum(loads)
        low, high = np.searchsorted(drawn, [first, ends[-1]])
        inside = np.unique(np.searchsorted(ends, drawn[low:high], side="right"))
        found.append(begin + inside)
        starts.append(ends[inside] - loads[inside])
        first = int(ends[-1])
    chosen = np.concatenate(found)
    return Places(drawn, chosen, np.concatenate(starts), counts.loads[chosen].astype(np.int64))

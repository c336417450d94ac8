"""Rows that may be drawn, each content once, and how many rows have it."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nearnorm.training.dataset.lake.contents import Words

_FEWEST = 50_000
"""Rows that wait at least before they are put in their places."""


class Candidates:
    """`words` [H] are the contents, ascending, `counts` [H] the rows of each."""

    def __init__(self) -> None:
        self.words = np.empty(0, np.uint64)
        self.counts = np.empty(0, np.int64)
        self._rows = np.empty(0, np.int64)
        self._pieces: list[pa.Table] = []
        self._waiting: list[tuple[Words, pa.Table]] = []

    def add(self, words: Words, table: pa.Table) -> None:
        """Rows of the table [N] with their contents [N]."""
        self._waiting.append((words, table))
        if sum(len(words) for words, _ in self._waiting) > max(_FEWEST, len(self.words) // 8):
            self.settle()

    def settle(self) -> None:
        """Put what waits in its place."""
        if not self._waiting:
            return
        words, first, counts = np.unique(
            np.concatenate([words for words, _ in self._waiting]), return_index=True, return_counts=True
        )
        at = np.searchsorted(self.words, words)
        known = np.append(self.words, np.uint64(0))[at] == words
        known &= at < len(self.words)
        self.counts[at[known]] += counts[known]
        new, place = ~known, at[~known]
        piece = pa.concat_tables([table for _, table in self._waiting]).take(first[new])
        rows = sum(table.num_rows for table in self._pieces) + np.arange(piece.num_rows)
        self._pieces.append(piece)
        self._rows = np.insert(self._rows, place, rows)
        self.words = np.insert(self.words, place, words[new])
        self.counts = np.insert(self.counts, place, counts[new])
        self._waiting = []

    def taken(self, which: NDArray[np.int64]) -> pa.Table:
        """The rows of these contents [n], as often as they are named."""
        return pa.concat_tables(self._pieces).take(self._rows[which])

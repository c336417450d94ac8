"""More rows than memory holds -> those that training keeps: every labelled one, and of the others so many.

Each of the others is as likely to be drawn as any, copies of one another too, and which ones are hangs on
the rows and the seed alone: not on files, row groups, batches, nor the order of the rows. The rows are read
twice: once to count them by their contents, and once to keep what lies at the places that were drawn.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa

from nearnorm.models.bundle.manifest import Draw, Reading
from nearnorm.models.data.files.parts import Parts, Piece, common_kind
from nearnorm.models.errors import DataError
from nearnorm.training.dataset.labels import UNLABELLED, LabelWords
from nearnorm.training.dataset.lake.candidates import Candidates
from nearnorm.training.dataset.lake.contents import Words
from nearnorm.training.dataset.lake.engine import LakeEngine, in_this_process
from nearnorm.training.dataset.lake.places import ContentCounts, draw_places
from nearnorm.training.dataset.lake.readings import (
    CountedOfPiece,
    Counting,
    Keeping,
    KeptOfPiece,
    LabelledRows,
)

MOST_ROWS, MOST_VALUES, FEWEST_ROWS = 1_000_000, 40_000_000, 200_000
"""Unlabelled rows that are kept, fewer where they have many columns: training on 1,000,000 rows of 40 takes
less than 4 GiB."""

Reads = TypeVar("Reads", CountedOfPiece, KeptOfPiece)
Told = Callable[[int, int], object]
"""Who is told how many rows have been read, of how many: where rows are drawn each is read twice."""


def untold(read: int, of: int) -> None:
    """Where progress goes of a caller that does not ask."""


@dataclass(frozen=True)
class KeptRows:
    """The rows that are kept, and of how many unlabelled ones they were drawn (None: all are kept)."""

    table: pa.Table
    drawn_from: int | None = None

    @contextmanager
    def told_apart(self) -> Iterator[None]:
        """What is refused of a row counts it among those that are kept: say so where others are not."""
        try:
            yield
        except DataError as error:
            if self.drawn_from is None:
                raise
            raise DataError(
                f"{error} (a row's number counts the {self.table.num_rows:,} rows that are kept)"
            ) from None


def most_unlabelled(draw: Draw, columns: int) -> int:
    """How many rows without a label are kept."""
    if draw.unlabelled is not None:
        return draw.unlabelled
    return max(min(MOST_ROWS, MOST_VALUES // max(columns, 1)), FEWEST_ROWS)


def keep(
    parts: Parts,
    label: str | None,
    reading: Reading,
    told: Told = untold,
    engine: LakeEngine = in_this_process,
) -> KeptRows:
    """All rows, where no more are unlabelled than are kept: in the order of the files. Else the labelled ones
    and those that are drawn, each in the order of their contents. Without a `label` column none is labelled.
    Rows that are drawn are read by the `engine`: the same ones whatever it is.

    Raises DataError and ConfigError for labels as `parse_labels` does, and where the data changes meanwhile.
    """
    draw = reading.draw
    most = 0 if draw is None else most_unlabelled(draw, len(set(parts.names) - {label}))
    if draw is None or parts.rows <= most:
        return KeptRows(parts.whole())
    meanings: Mapping[str, int] = {}
    unlabelled = parts.rows
    if label is not None:
        words = LabelWords(label)
        for part in parts.read([label]):
            words.add(part.column(label))
        meanings = words.meanings(reading)
        unlabelled -= sum(rows for word, rows in words.rows.items() if meanings[word] != UNLABELLED)
    if unlabelled <= most:
        return KeptRows(parts.whole())
    lake = _Lake(parts, LabelledRows(parts.names, label, meanings), engine, told)
    return KeptRows(_drawn(lake, most, draw.seed), unlabelled)


class _Lake:
    """Pieces that are read twice, by an engine."""

    def __init__(self, parts: Parts, labelled: LabelledRows, engine: LakeEngine, told: Told) -> None:
        self.parts, self.labelled = parts, labelled
        self._engine, self._told, self._read = engine, told, 0

    def read(self, reading: Callable[[Piece], Iterator[Reads]]) -> Iterator[Reads]:
        for found in self._engine(reading, self.parts.pieces):
            self._read += found.rows
            self._told(self._read, 2 * self.parts.rows)
            yield found


def _drawn(lake: _Lake, count: int, seed: int) -> pa.Table:
    counts = ContentCounts(lake.parts.rows)
    found: dict[str, set[pa.DataType]] = {name: set() for name in lake.parts.names}
    for counted in lake.read(Counting(lake.labelled, counts.cells)):
        counts.count(counted.cells)
        for name, kind in zip(counted.schema.names, counted.schema.types, strict=True):
            found[name].add(kind)
    kinds = {name: common_kind(kinds) for name, kinds in found.items()}
    places = draw_places(counts, count, seed)
    wanted = np.zeros(len(counts.loads), bool)
    wanted[places.cells] = True

    candidates, kept = Candidates(), _Sorted()
    for part in lake.read(Keeping(lake.labelled, counts.cells, wanted, kinds)):
        candidates.add(part.free_words, part.free)
        kept.add(part.words, part.labels, part.labelled)
    candidates.settle()
    which = places.at(counts.cells.of(candidates.words), candidates.counts)
    if which is None:
        raise DataError("the data changed while it was read: train on files that nobody writes to")
    table = pa.concat_tables([kept.table(), candidates.taken(which)])
    return table.cast(pa.schema(list(kinds.items()))).unify_dictionaries()


class _Sorted:
    """Labelled rows, in the order of contents and labels."""

    def __init__(self) -> None:
        self._parts: list[tuple[Words, np.ndarray, pa.Table]] = []

    def add(self, words: Words, labels: np.ndarray, table: pa.Table) -> None:
        if not self._parts or len(words):
            self._parts.append((words, labels, table))

    def table(self) -> pa.Table:
        words, labels = (np.concatenate([part[i] for part in self._parts]) for i in (0, 1))
        return pa.concat_tables([part[2] for part in self._parts]).take(np.lexsort((labels, words)))

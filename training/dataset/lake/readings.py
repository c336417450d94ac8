"""The two readings of a lake, as what each makes of a piece: it can be pickled, and done anywhere."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nearnorm.models.data.files.parts import Piece
from nearnorm.models.data.files.plain import TEXT
from nearnorm.training.dataset.labels import UNLABELLED, labels_of
from nearnorm.training.dataset.lake.contents import Words, contents
from nearnorm.training.dataset.lake.places import ContentCells


@dataclass(frozen=True)
class LabelledRows:
    """Columns `names` of a piece's rows, with their contents and labels: by what the words of the column
    `label` mean; None: no row has one."""

    names: tuple[str, ...]
    label: str | None
    meanings: Mapping[str, int]

    def __call__(self, piece: Piece) -> Iterator[tuple[pa.Table, Words, NDArray[np.int8]]]:
        for part in piece(self.names):
            if self.label is None:
                yield part, contents(part), np.full(part.num_rows, UNLABELLED, np.int8)
            else:
                labels = labels_of(part.column(self.label), self.meanings)
                yield part, contents(part.drop_columns([self.label])), labels


@dataclass(frozen=True)
class CountedOfPiece:
    """Of so many `rows`: the `cells` of those without a label, and the columns' types."""

    rows: int
    cells: NDArray[np.uint32]
    schema: pa.Schema


@dataclass(frozen=True)
class Counting:
    """The first reading."""

    labelled: LabelledRows
    cells: ContentCells

    def __call__(self, piece: Piece) -> Iterator[CountedOfPiece]:
        for part, words, labels in self.labelled(piece):
            yield CountedOfPiece(part.num_rows, self.cells.of(words[labels == UNLABELLED]), part.schema)


@dataclass(frozen=True)
class KeptOfPiece:
    """Of so many `rows`: those without a label that may be drawn, `free`, with their contents; and those with
    one, with contents and labels."""

    rows: int
    free_words: Words
    free: pa.Table
    words: Words
    labels: NDArray[np.int8]
    labelled: pa.Table


@dataclass(frozen=True)
class Keeping:
    """The second reading: rows without a label may be drawn from the cells that are `wanted` [cells] bool.
    Columns become of these `kinds`."""

    labelled: LabelledRows
    cells: ContentCells
    wanted: NDArray[np.bool_]
    kinds: Mapping[str, pa.DataType]

    def __call__(self, piece: Piece) -> Iterator[KeptOfPiece]:
        for part, words, labels in self.labelled(piece):
            free = labels == UNLABELLED
            may_be = free & self.wanted[self.cells.of(words)]
            yield KeptOfPiece(
                part.num_rows,
                words[may_be],
                self._as_kinds(part.filter(pa.array(may_be))),
                words[~free],
                labels[~free],
                self._as_kinds(part.filter(pa.array(~free))),
            )

    def _as_kinds(self, table: pa.Table) -> pa.Table:
        """Texts as they stand, not with all that a dictionary holds."""
        plain = [pa.string() if kind == TEXT else kind for kind in self.kinds.values()]
        return table.cast(pa.schema(list(zip(self.kinds, plain, strict=True))))

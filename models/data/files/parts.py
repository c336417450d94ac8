"""Data files -> tables of some of their rows, one after the other, as often as wanted.

Of Parquet no more than one of them is held at once; a CSV file shows what its columns are only as a whole,
and is read as such.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from nearnorm.models.data.files.find import DataFile
from nearnorm.models.data.files.format import FOUND, FileFormat
from nearnorm.models.data.files.parquet_file import BATCH_ROWS, cut, parquet_parts, parquet_shape
from nearnorm.models.data.files.plain import is_number
from nearnorm.models.data.files.read import (
    common_schema,
    find_alike,
    ignore,
    read_table,
    refuse_twice,
    with_partitions,
)
from nearnorm.models.data.spelling import spelled
from nearnorm.models.errors import DataError

PIECE_ROWS = 8 * BATCH_ROWS
"""Of a Parquet file: of a longer one row groups are pieces of their own."""

Piece = Callable[[Collection[str]], Iterator[pa.Table]]
"""Some rows of the whole, each time in the same order, in tables of the columns that are wanted."""


@dataclass(frozen=True)
class Parts:
    """`rows` in all, of columns `names`, in order in the `pieces`; `whole()` gives all at once, as
    `read_table` does."""

    names: tuple[str, ...]
    rows: int
    pieces: tuple[Piece, ...]
    whole: Callable[[], pa.Table]

    def read(self, wanted: Collection[str] | None = None) -> Iterator[pa.Table]:
        """All rows in order, in tables of the wanted columns (None: all)."""
        for piece in self.pieces:
            yield from piece(self.names if wanted is None else wanted)

    def without(self, name: str) -> "Parts":
        """All columns but this one."""
        left = tuple(other for other in self.names if other != name)
        return Parts(left, self.rows, self.pieces, lambda: self.whole().select(list(left)))


@dataclass(frozen=True)
class FilePiece:
    """Rows of a Parquet file, of some of its row groups; `names` are the columns that all files have, in
    order. It can be pickled, and read wherever the file can."""

    file: DataFile
    names: tuple[str, ...]
    known: frozenset[str]
    groups: range

    def __call__(self, wanted: Collection[str]) -> Iterator[pa.Table]:
        chosen = [name for name in self.names if name in wanted]

        def written(own: list[str]) -> list[str]:
            pairs = zip(own, spelled(own, self.known), strict=True)
            return [name for name, known_as in pairs if known_as in wanted] or own

        for part in parquet_parts(self.file, written, self.groups):
            table = with_partitions(self.file, part)
            yield table.rename_columns(spelled(table.column_names, self.known)).select(chosen)


def open_parts(
    source: str,
    as_text: Collection[str] = (),
    given: FileFormat = FOUND,
    warn: Callable[[str], object] = ignore,
    known: Collection[str] = (),
) -> Parts:
    """What `read_table` would read, in parts. Raises DataError or ConfigError as it does."""
    whole = partial(read_table, source, as_text, given, warn, known)
    files = find_alike(source)
    if not files[0].is_parquet:
        table = whole()
        return Parts(tuple(table.column_names), table.num_rows, (partial(_slices, table),), lambda: table)
    shapes, found, spellings = [], [], frozenset({*known, *as_text})
    for file in files:
        groups, schema = parquet_shape(file)
        refuse_twice(file, schema.names)
        empty = with_partitions(file, schema.empty_table())
        found.append(empty.rename_columns(spelled(empty.column_names, spellings)).schema)
        shapes.append(groups)
    names = tuple(common_schema(files, found).names)
    rows = sum(map(sum, shapes))
    if not rows:
        raise DataError(f"{source} holds no rows")
    pieces = [
        FilePiece(file, names, spellings, groups)
        for file, shape in zip(files, shapes, strict=True)
        for groups in cut(shape, PIECE_ROWS)
    ]
    return Parts(names, rows, tuple(pieces), whole)


def common_kind(kinds: Collection[pa.DataType]) -> pa.DataType:
    """The type of a column whose parts have these: a decimal is an integer in one and a float in another."""
    present = [kind for kind in kinds if not pa.types.is_null(kind)]
    if len(present) > 1 and all(map(is_number, present)):
        return pa.float64()
    return present[0] if present else pa.null()


def _slices(table: pa.Table, wanted: Collection[str]) -> Iterator[pa.Table]:
    chosen = table.select([name for name in table.column_names if name in wanted])
    for start in range(0, table.num_rows, BATCH_ROWS):
        yield chosen.slice(start, BATCH_ROWS)

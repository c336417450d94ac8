"""Data files -> tables of some of their rows, one after the other, as often as wanted.

Of Parquet no more than one of them is held at once; a CSV file shows what its columns are only as a whole,
and is read as such.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from nearnorm.models.data.files.find import DataFile
from nearnorm.models.data.files.format import FOUND, FileFormat
from nearnorm.models.data.files.parquet_file import BATCH_ROWS, parquet_parts, parquet_shape
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


@dataclass(frozen=True)
class Parts:
    """`rows` in all, of columns `names`. `read(wanted)` gives them in order, in tables of the wanted columns
    (None: all); `whole()` all at once, as `read_table` does."""

    names: tuple[str, ...]
    rows: int
    read: Callable[[Collection[str] | None], Iterator[pa.Table]]
    whole: Callable[[], pa.Table]

    def without(self, name: str) -> "Parts":
        """All columns but this one."""
        left = tuple(other for other in self.names if other != name)
        return Parts(
            left,
            self.rows,
            lambda wanted: self.read(left if wanted is None else wanted),
            lambda: self.whole().select(list(left)),
        )


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
        return Parts(tuple(table.column_names), table.num_rows, partial(_slices, table), lambda: table)
    found, rows = [], 0
    for file in files:
        count, schema = parquet_shape(file)
        refuse_twice(file, schema.names)
        empty = with_partitions(file, schema.empty_table())
        found.append(empty.rename_columns(spelled(empty.column_names, {*known, *as_text})).schema)
        rows += count
    names = common_schema(files, found).names
    if not rows:
        raise DataError(f"{source} holds no rows")
    return Parts(tuple(names), rows, partial(_parts, files, names, {*known, *as_text}), whole)


def common_kind(kinds: Collection[pa.DataType]) -> pa.DataType:
    """The type of a column whose parts have these: a decimal is an integer in one and a float in another."""
    present = [kind for kind in kinds if not pa.types.is_null(kind)]
    if len(present) > 1 and all(map(is_number, present)):
        return pa.float64()
    return present[0] if present else pa.null()


def _slices(table: pa.Table, wanted: Collection[str] | None) -> Iterator[pa.Table]:
    chosen = table if wanted is None else table.select([n for n in table.column_names if n in wanted])
    for start in range(0, table.num_rows, BATCH_ROWS):
        yield chosen.slice(start, BATCH_ROWS)


def _parts(
    files: Sequence[DataFile], names: Sequence[str], known: Collection[str], wanted: Collection[str] | None
) -> Iterator[pa.Table]:
    chosen = [name for name in names if wanted is None or name in wanted]
    for file in files:
        written: Collection[str] | None = None
        if wanted is not None:
            own = parquet_shape(file)[1].names
            pairs = zip(own, spelled(own, known), strict=True)
            written = {name for name, known_as in pairs if known_as in wanted} or None
        for part in parquet_parts(file, written):
            table = with_partitions(file, part)
            yield table.rename_columns(spelled(table.column_names, known)).select(chosen)

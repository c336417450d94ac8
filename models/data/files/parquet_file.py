"""A Parquet file -> tables, in parts, so that texts are never held as they stand."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from nearnorm.models.data.files.find import DataFile
from nearnorm.models.data.files.plain import TEXT, plain
from nearnorm.models.errors import DataError

BATCH_ROWS = 65_536
_BUFFER_BYTES = 1 << 22
"""What is read of a column at once: without it, all of a row group."""


def read_parquet(file: DataFile) -> pa.Table:
    """Raises DataError naming the file."""
    parts = list(parquet_parts(file))
    if not parts:
        raise DataError(f"{file.name} holds no rows")
    names = parts[0].column_names
    columns = [_joined([part.column(i) for part in parts]) for i in range(len(names))]
    return pa.table(columns, names=names)


def parquet_parts(
    file: DataFile,
    wanted: Callable[[list[str]], list[str]] = lambda names: names,
    groups: range | None = None,
) -> Iterator[pa.Table]:
    """The file's rows in order, or those of some of its row groups, in tables of at most BATCH_ROWS; of its
    columns those that `wanted` answers. Raises DataError naming the file."""
    with _opened(file) as reader:
        names = wanted(reader.schema_arrow.names)
        every = len(names) == len(reader.schema_arrow.names)
        batches = reader.iter_batches(BATCH_ROWS, row_groups=groups, columns=None if every else names)
        for batch in batches:
            columns = batch.columns if every else [batch.column(name) for name in names]
            part = pa.table([plain(pa.chunked_array([c])) for c in columns], names=names)
            _check_text(file.name, part)
            yield part


def parquet_shape(file: DataFile) -> tuple[list[int], pa.Schema]:
    """How many rows each row group has, and the file's columns, of the types that `plain` gives them: by its
    footer."""
    with _opened(file) as reader:
        empty = [plain(pa.chunked_array([], kind)) for kind in reader.schema_arrow.types]
        kinds = [column.type for column in empty]
        groups = [reader.metadata.row_group(i).num_rows for i in range(reader.metadata.num_row_groups)]
        return groups, pa.schema(list(zip(reader.schema_arrow.names, kinds, strict=True)))


def cut(sizes: Sequence[int], most: int) -> Iterator[range]:
    """Neighbours together: as many row groups of these sizes as `most` holds, or one that is larger."""
    start, held = 0, 0
    for group, size in enumerate(sizes):
        if held and held + size > most:
            yield range(start, group)
            start, held = group, 0
        held += size
    yield range(start, len(sizes))


@contextmanager
def _opened(file: DataFile) -> Iterator[pq.ParquetFile]:
    try:
        with file.open() as opened:
            if opened.size() == 0:
                raise DataError(f"{file.name} is empty")
            with pq.ParquetFile(opened, buffer_size=_BUFFER_BYTES, pre_buffer=False) as reader:
                yield reader
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        raise DataError(
            f"{file.name} cannot be read as parquet: it is damaged, cut short, encrypted or no Parquet file: "
            "write it anew"
        ) from None


def _joined(pieces: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    """A decimal column may be integers in one part and floats in another, where one is too large."""
    kinds = {piece.type for piece in pieces}
    kind = pieces[0].type if len(kinds) == 1 else pa.float64()
    return pa.chunked_array([chunk for piece in pieces for chunk in piece.cast(kind).chunks], kind)


def _check_text(file: str, part: pa.Table) -> None:
    """Nobody else looks whether what Parquet calls text is any."""
    for name, column in zip(part.column_names, part.columns, strict=True):
        for chunk in column.chunks if column.type == TEXT else ():
            try:
                chunk.dictionary.validate(full=True)
            except pa.ArrowInvalid:
                raise DataError(f"{file}: column {name!r} is not UTF-8 text: write it anew as such") from None

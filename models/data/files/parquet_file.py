"""A Parquet file -> a table, in parts, so that texts are never held as they stand."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from nearnorm.models.data.files.find import DataFile
from nearnorm.models.data.files.plain import TEXT, plain
from nearnorm.models.errors import DataError

BATCH_ROWS = 65_536


def read_parquet(file: DataFile) -> pa.Table:
    """Raises DataError naming the file."""
    try:
        with file.open() as opened:
            if opened.size() == 0:
                raise DataError(f"{file.name} is empty")
            return _read(file.name, opened)
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        raise DataError(
            f"{file.name} cannot be read as parquet: it is damaged, cut short, encrypted or no Parquet file: "
            "write it anew"
        ) from None


def _read(name: str, opened: pa.NativeFile) -> pa.Table:
    with pq.ParquetFile(opened) as reader:
        names = reader.schema_arrow.names
        parts = [
            pa.table([plain(pa.chunked_array([c])) for c in batch.columns], names=names)
            for batch in reader.iter_batches(batch_size=BATCH_ROWS)
        ]
    if not parts:
        raise DataError(f"{name} holds no rows")
    columns = {}
    for i, column in enumerate(names):
        pieces = [part.column(i) for part in parts]
        _check_text(name, column, pieces)
        columns[i] = _joined(pieces)
    return pa.table(list(columns.values()), names=names)


def _joined(pieces: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    """A decimal column may be integers in one part and floats in another, where one is too large."""
    kinds = {piece.type for piece in pieces}
    kind = pieces[0].type if len(kinds) == 1 else pa.float64()
    return pa.chunked_array([chunk for piece in pieces for chunk in piece.cast(kind).chunks], kind)


def _check_text(file: str, name: str, parts: Sequence[pa.ChunkedArray]) -> None:
    """Nobody else looks whether what Parquet calls text is any."""
    for chunk in (chunk for part in parts if part.type == TEXT for chunk in part.chunks):
        try:
            chunk.dictionary.validate(full=True)
        except pa.ArrowInvalid:
            raise DataError(f"{file}: column {name!r} is not UTF-8 text: write it anew as such") from None

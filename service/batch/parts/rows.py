"""The rows of a part, as its file has them: of Parquet a batch at a time, and only the columns in use."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from nearnorm.models.data.files.find import DataFile, find_files
from nearnorm.models.data.files.format import FileFormat
from nearnorm.models.data.files.read import ignore, read_file
from nearnorm.models.data.spelling import spelled, spellings
from nearnorm.models.errors import DataError
from nearnorm.service.batch.parts.plan import OutputPart
from nearnorm.service.batch.record_batches import BatchScorer

BATCH_ROWS = 65_536


class PartRows(Struct, frozen=True):
    """`first`: the place in its file of the first row, from 0."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    first: int = 0


@contextmanager
def open_rows(
    part: OutputPart, score: BatchScorer, given: FileFormat, warn: Callable[[str], object] = ignore
) -> Iterator[PartRows]:
    """Those of its columns that the model knows or that are kept. `warn` is told what was guessed.

    Raises DataError naming the file, also while its batches are read."""
    (file,) = find_files(part.file)
    with ExitStack() as stack:
        if file.is_parquet:
            with _readable(file.name):
                reader = stack.enter_context(pq.ParquetFile(stack.enter_context(file.open())))
                rows = _parquet_rows(reader, part, score)
        else:
            rows = _csv_rows(file, score, given, warn)
        rows = _with_folders(rows, part, score)
        yield PartRows(rows.schema, _checked(file.name, rows.batches), rows.first)


def _checked(name: str, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Nobody else looks whether what Parquet calls text is any."""
    with _readable(name):
        for batch in batches:
            batch.validate(full=True)
            yield batch


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{name} cannot be read as parquet: {str(error).splitlines()[0]}") from None


def _csv_rows(
    file: DataFile, score: BatchScorer, given: FileFormat, warn: Callable[[str], object]
) -> PartRows:
    table = read_file(file, spellings(score.texts), given, warn)
    return PartRows(table.schema, iter(table.to_batches()))


def _parquet_rows(reader: pq.ParquetFile, part: OutputPart, score: BatchScorer) -> PartRows:
    written = reader.schema_arrow
    names = spelled(written.names, score.used)
    used = [field for field, name in zip(written, names, strict=True) if name in score.used]
    schema = pa.schema(used)
    start, stop = part.groups or (0, reader.metadata.num_row_groups)
    batches = reader.iter_batches(BATCH_ROWS, row_groups=range(start, stop), columns=schema.names)
    first = sum(reader.metadata.row_group(group).num_rows for group in range(start))
    return PartRows(schema, (batch.select(schema.names) for batch in batches), first)


def _with_folders(rows: PartRows, part: OutputPart, score: BatchScorer) -> PartRows:
    """And the columns that the names of folders hold: `day=3`."""
    held = {
        name: value
        for name, value in part.partitions.items()
        if name in score.used and name not in rows.schema.names
    }
    if not held:
        return rows
    names = [*rows.schema.names, *held]

    def widened(batch: pa.RecordBatch) -> pa.RecordBatch:
        constants = [pa.repeat(value, batch.num_rows) for value in held.values()]
        return pa.record_batch([*batch.columns, *constants], names=names)

    schema = pa.schema([*rows.schema, *(pa.field(name, pa.string()) for name in held)])
    return PartRows(schema, map(widened, rows.batches), rows.first)

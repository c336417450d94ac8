"""`nearnorm aggregate`: a history's rows, and beside them the numbers that they had when they came."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from nearnorm.models.aggregates.counting import Ended
from nearnorm.models.aggregates.declaration import Aggregates
from nearnorm.models.aggregates.history import as_columns, history_numbers, read_history
from nearnorm.models.data.files.find import refuse_overwriting
from nearnorm.models.data.files.format import FOUND, FileFormat
from nearnorm.models.data.files.parts import Parts, open_parts
from nearnorm.models.data.files.plain import TEXT
from nearnorm.models.data.files.read import ignore
from nearnorm.models.errors import ConfigError, DataError


def aggregate_file(
    data: str,
    aggregates: Aggregates,
    out: Path,
    now: int,
    files: FileFormat = FOUND,
    warn: Callable[[str], object] = ignore,
    ended: Ended = lambda name, kept: None,
) -> int:
    """Write the rows of `data` with their numbers to a .csv or .parquet file, whole or not at all, and answer
    how many they are. The data is read twice; `now` and `ended` are as for `history_numbers`.

    Raises DataError, ConfigError.
    """
    if out.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"--out {out}: its name must end in .csv or .parquet")
    refuse_overwriting(out, data)
    parts = open_parts(data, aggregates.texts, files, warn, aggregates.used)
    for name in sorted(aggregates.used - set(parts.names)):
        raise DataError(f"{data} has no column {name!r}, which [aggregates] counts from")
    for name in sorted(aggregates.features.keys() & set(parts.names)):
        raise DataError(f"{data} has a column {name!r} already: it is what would be counted: leave it out")
    history = read_history(parts.read(aggregates.used), aggregates, data)
    numbers = history_numbers(history, aggregates, now, ended)
    with _written_whole(out) as path:
        _write(parts, numbers, aggregates, path, data)
    return len(numbers)


def _write(parts: Parts, numbers: np.ndarray, aggregates: Aggregates, path: Path, data: str) -> None:
    writer: pa_csv.CSVWriter | pq.ParquetWriter | None = None
    start = 0
    try:
        for table in _alike(parts.read(), data):
            rows = numbers[start : start + table.num_rows]
            start += table.num_rows
            for name, column in as_columns(rows, aggregates).items():
                table = table.append_column(name, column)
            if path.name.endswith(".csv"):
                table = table.cast(pa.schema([(f.name, _spelled(f.type)) for f in table.schema]))
            if writer is None:
                make = pa_csv.CSVWriter if path.name.endswith(".csv") else pq.ParquetWriter
                writer = make(path, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def _alike(tables: Iterator[pa.Table], data: str) -> Iterator[pa.Table]:
    """All of the types of the first. Raises DataError."""
    schema = None
    for table in tables:
        schema = schema or table.schema
        try:
            yield table.cast(schema)
        except pa.ArrowException:
            raise DataError(f"{data}: a column's type changes from part to part: write it anew") from None


def _spelled(kind: pa.DataType) -> pa.DataType:
    return pa.string() if kind == TEXT else kind


@contextmanager
def _written_whole(out: Path) -> Iterator[Path]:
    """Where to write what will be `out`. Raises DataError where it cannot be written."""
    path = out.with_name(f".{out.name.removesuffix(out.suffix)}.unfinished{out.suffix}")
    try:
        yield path
        os.replace(path, out)
    except (OSError, pa.ArrowException) as error:  # a list has no place in CSV
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{out} cannot be written: {reason}") from None
    finally:
        path.unlink(missing_ok=True)

"""Data files -> one table."""

from collections.abc import Callable, Collection, Sequence

import pyarrow as pa

from nearnorm.models.data.files.csv_file import read_csv
from nearnorm.models.data.files.find import DataFile, find_files
from nearnorm.models.data.files.format import FOUND, FileFormat
from nearnorm.models.data.files.parquet_file import read_parquet
from nearnorm.models.data.files.plain import TEXT, is_number, type_name
from nearnorm.models.data.spelling import spelled, spellings
from nearnorm.models.errors import DataError


def ignore(_: str) -> None:
    """Where warnings go of a caller that does not ask."""


def read_table(
    source: str,
    as_text: Collection[str] = (),
    given: FileFormat = FOUND,
    warn: Callable[[str], object] = ignore,
    known: Collection[str] = (),
) -> pa.Table:
    """Read the CSV or Parquet files that `source` means, in the order of their names.

    Text columns come as dictionaries, an empty CSV field and NaN as null. Columns named in `as_text` are
    read as text from CSV, so that "007" stays "007". `warn` is told what was guessed. Names are spelled as
    `known` ones are, else in Unicode's normal form C. Raises DataError or ConfigError naming the file or
    column.
    """
    files = find_files(source)
    kinds = {file.is_parquet for file in files}
    if len(kinds) > 1:
        raise DataError(f"{source} means CSV and Parquet files: name one kind, as in '{source}/*.parquet'")
    texts, wanted = spellings(as_text), {*known, *as_text}
    tables = [read_file(file, texts, given, warn) for file in files]
    table = _concatenated(
        files, [table.rename_columns(spelled(table.column_names, wanted)) for table in tables]
    )
    if table.num_rows == 0:
        raise DataError(f"{source} holds no rows")
    return table


def read_file(
    file: DataFile, as_text: Collection[str], given: FileFormat, warn: Callable[[str], object]
) -> pa.Table:
    """One file, and the columns that its folders hold. `as_text`: however they are spelled in it."""
    table = read_parquet(file) if file.is_parquet else read_csv(file, as_text, given, warn)
    twice = sorted({n for n in table.column_names if table.column_names.count(n) > 1})
    if twice:
        raise DataError(f"{file.name} names a column twice: {', '.join(twice)}")
    for name, value in file.partitions.items():
        if name not in table.column_names:
            table = table.append_column(name, pa.array([value] * table.num_rows, pa.string()).cast(TEXT))
    return table


def _concatenated(files: Sequence[DataFile], tables: Sequence[pa.Table]) -> pa.Table:
    first = tables[0]
    for file, table in zip(files[1:], tables[1:], strict=True):
        differing = set(first.column_names) ^ set(table.column_names)
        if differing:
            raise DataError(
                f"{file.name} and {files[0].name} have different columns: only one has "
                f"{', '.join(sorted(differing))}"
            )
    columns = {}
    for name in first.column_names:
        kind = _common_type(name, files, [table.schema.field(name).type for table in tables])
        columns[name] = pa.chunked_array(
            [chunk for table in tables for chunk in table.column(name).cast(kind).chunks], kind
        )
    return pa.table(columns).unify_dictionaries()


def _common_type(name: str, files: Sequence[DataFile], kinds: Sequence[pa.DataType]) -> pa.DataType:
    common, where = kinds[0], files[0]
    for file, kind in zip(files, kinds, strict=True):
        if kind == common or pa.types.is_null(kind):
            continue
        if pa.types.is_null(common):
            common, where = kind, file
        elif is_number(common) and is_number(kind):
            common = pa.float64()
        else:
            raise DataError(
                f"column {name!r} changes its type: {type_name(common)} in {where.name}, "
                f"{type_name(kind)} in {file.name}"
            )
    return common

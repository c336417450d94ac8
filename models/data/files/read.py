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
    files = find_alike(source)
    texts, wanted = spellings(as_text), {*known, *as_text}
    tables = [read_file(file, texts, given, warn) for file in files]
    table = _concatenated(
        files, [table.rename_columns(spelled(table.column_names, wanted)) for table in tables]
    )
    if table.num_rows == 0:
        raise DataError(f"{source} holds no rows")
    return table


def find_alike(source: str) -> list[DataFile]:
    """The files that `source` means, all CSV or all Parquet. Raises DataError."""
    files = find_files(source)
    if len({file.is_parquet for file in files}) > 1:
        raise DataError(f"{source} means CSV and Parquet files: name one kind, as in '{source}/*.parquet'")
    return files


def read_file(
    file: DataFile, as_text: Collection[str], given: FileFormat, warn: Callable[[str], object]
) -> pa.Table:
    """One file, and the columns that its folders hold. `as_text`: however they are spelled in it."""
    table = read_parquet(file) if file.is_parquet else read_csv(file, as_text, given, warn)
    refuse_twice(file, table.column_names)
    return with_partitions(file, table)


def refuse_twice(file: DataFile, names: Sequence[str]) -> None:
    """Raise DataError where two columns have one name."""
    if names.count("") > 1:
        raise DataError(f"{file.name} has columns without a name ({names.count('')}): name them")
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise DataError(f"{file.name} names a column twice: {', '.join(twice)}")


def with_partitions(file: DataFile, table: pa.Table) -> pa.Table:
    """Rows of the file, and the columns that its folders' names hold."""
    for name, value in file.partitions.items():
        if name not in table.column_names:
            table = table.append_column(name, pa.array([value] * table.num_rows, pa.string()).cast(TEXT))
    return table


def _concatenated(files: Sequence[DataFile], tables: Sequence[pa.Table]) -> pa.Table:
    schema = common_schema(files, [table.schema for table in tables])
    columns = {}
    for name, kind in zip(schema.names, schema.types, strict=True):
        columns[name] = pa.chunked_array(
            [chunk for table in tables for chunk in table.column(name).cast(kind).chunks], kind
        )
    return pa.table(columns).unify_dictionaries()


def common_schema(files: Sequence[DataFile], schemas: Sequence[pa.Schema]) -> pa.Schema:
    """The columns of all of the files, in the order of the first. Raises DataError where they differ."""
    first = schemas[0]
    for file, schema in zip(files[1:], schemas[1:], strict=True):
        differing = set(first.names) ^ set(schema.names)
        if differing:
            raise DataError(
                f"{file.name} and {files[0].name} have different columns: only one has "
                f"{', '.join(sorted(differing))}"
            )
    kinds = {name: [schema.field(name).type for schema in schemas] for name in first.names}
    return pa.schema([(name, _common_type(name, files, kinds[name])) for name in first.names])


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

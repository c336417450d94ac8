"""Files and Arrow tables -> the arrays that a model sees. Training and serving share this conversion."""

import glob
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from nearnorm.models.data.schema import MISSING_CODE, UNKNOWN_CODE, Feature, FeatureSchema, Kind
from nearnorm.models.errors import DataError

BATCH_ROWS = 65_536
TEXT = pa.dictionary(pa.int32(), pa.string())
LEADING_ZERO = r"^\s*0[0-9xX]"  # 007, and 0x10, which Arrow would read as 16
_PLAIN = frozenset({pa.float64(), pa.float32(), pa.int64(), pa.int32()})


@dataclass(frozen=True)
class RowError:
    """The first thing wrong with a row: the field, and a sentence."""

    field: str
    detail: str


@dataclass(frozen=True)
class Arrays:
    """N rows as a model sees them.

    `numeric` [N, len(schema.numeric)] float64, NaN where missing; `codes` [N, len(schema.categorical)]
    int64. `missing` [N, len(schema.scored)] and `unknown` [N, len(schema.categorical)] are boolean.
    `errors` is by row index; such a row's numbers mean nothing. `extra` names columns that the schema
    does not know.
    """

    numeric: np.ndarray
    codes: np.ndarray
    missing: np.ndarray
    unknown: np.ndarray
    errors: dict[int, RowError]
    extra: tuple[str, ...]


def read_table(source: str, text: Collection[str] = ()) -> pa.Table:
    """Read a CSV or Parquet file, or all the files of a glob in the order of their names.

    Text columns come as dictionaries, an empty CSV field and NaN as null. Columns named in `text` are
    read as text from CSV, so that "5411.0" stays that; so are integers with leading zeros, as "007".
    Raises DataError naming the file or column.
    """
    paths = [Path(p) for p in sorted(glob.glob(source, recursive=True))] or [Path(source)]
    tables = [_read_file(path, text) for path in paths]
    table = _concatenated(paths, tables)
    if table.num_rows == 0:
        raise DataError(f"{source} holds no rows")
    return table


def to_arrays(table: pa.Table, schema: FeatureSchema) -> Arrays:
    """Convert by the schema: columns by name, a column that is not there is missing in every row."""
    rows = table.num_rows
    errors: dict[int, RowError] = {}
    codes = np.zeros((rows, len(schema.categorical)), np.int64)
    columns = set(table.schema.names)
    numeric = _plain_numbers(table, schema.numeric)
    if numeric is None:
        numeric = np.full((rows, len(schema.numeric)), np.nan)
        for j, feature in enumerate(schema.numeric):
            if feature.name in columns:
                numeric[:, j] = _numbers(table.column(feature.name), feature, errors)
    for j, feature in enumerate(schema.categorical):
        if feature.name in columns:
            codes[:, j] = _codes(table.column(feature.name), feature, errors)
    missing = np.hstack([np.isnan(numeric), codes == MISSING_CODE])
    for j, feature in enumerate(schema.scored):
        if not feature.nullable:
            for row in np.flatnonzero(missing[:, j]).tolist():
                errors.setdefault(row, RowError(feature.name, "the value is missing, and must be given"))
    extra = tuple(sorted(columns - {f.name for f in schema.features}))
    return Arrays(numeric, codes, missing, codes == UNKNOWN_CODE, errors, extra)


def _read_file(path: Path, text: Collection[str]) -> pa.Table:
    ending = path.suffix.lower()
    if ending not in (".csv", ".parquet"):
        raise DataError(f"{path}: its name must end in .csv or .parquet")
    if not path.is_file():
        raise DataError(f"{path} does not exist, or is no file")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty")
    try:
        table = _read_csv(path, text) if ending == ".csv" else _read_parquet(path)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:  # of a damaged file, or a column
        first_line = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(f"{path} cannot be read as {ending[1:]}: {first_line}") from None
    twice = sorted({n for n in table.column_names if table.column_names.count(n) > 1})
    if twice:
        raise DataError(f"{path} names a column twice: {', '.join(twice)}")
    if table.num_columns < 2:
        raise DataError(f"{path} has one column: records need at least one feature beside their label")
    return table


def _read_csv(path: Path, text: Collection[str]) -> pa.Table:
    table = pa_csv.read_csv(path, convert_options=_as_text(text))
    table = _with_leading_zeros(path, table)
    binary = [field.name for field in table.schema if pa.types.is_binary(field.type)]
    if binary:
        raise DataError(f"{path}: column {binary[0]!r} is not UTF-8 text: save the file in that encoding")
    return pa.table([_plain(c) for c in table.columns], names=table.column_names)


def _as_text(columns: Collection[str], only: bool = False) -> pa_csv.ConvertOptions:
    return pa_csv.ConvertOptions(
        null_values=[""],
        strings_can_be_null=True,
        column_types=dict.fromkeys(columns, pa.string()),
        include_columns=list(columns) if only else None,
    )


def _with_leading_zeros(path: Path, table: pa.Table) -> pa.Table:
    """Integers that are written with leading zeros stay text: they are names, and lost them as numbers."""
    integers = [field.name for field in table.schema if pa.types.is_integer(field.type)]
    if not integers or len(set(table.column_names)) < table.num_columns:
        return table
    written = pa_csv.read_csv(path, convert_options=_as_text(integers, only=True))
    for name in integers:
        if pc.any(pc.match_substring_regex(written[name], LEADING_ZERO)).as_py():
            table = table.set_column(table.column_names.index(name), name, written[name])
    return table


def _read_parquet(path: Path) -> pa.Table:
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        parts = [
            pa.table([_plain(pa.chunked_array([c])) for c in batch.columns], names=names)
            for batch in file.iter_batches(batch_size=BATCH_ROWS)
        ]
        if not parts:
            raise DataError(f"{path} holds no rows")
    for name, column in zip(names, zip(*(part.columns for part in parts), strict=True), strict=True):
        _check_text(path, name, column)
    return pa.concat_tables(parts)


def _check_text(path: Path, name: str, parts: Sequence[pa.ChunkedArray]) -> None:
    """Nobody else looks whether what Parquet calls text is any."""
    for chunk in (chunk for part in parts if part.type == TEXT for chunk in part.chunks):
        try:
            chunk.dictionary.validate(full=True)
        except pa.ArrowInvalid:
            raise DataError(f"{path}: column {name!r} is not UTF-8 text: write it anew as such") from None


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text as dictionaries, other dictionaries unpacked, bytes of one type, NaN as null."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        column = column.cast(kind)
    if pa.types.is_large_string(kind) or pa.types.is_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string()).cast(TEXT)
    if pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind) or pa.types.is_binary_view(kind):
        return column.cast(pa.binary())
    if pa.types.is_floating(kind):
        return pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
    return column


def _concatenated(paths: list[Path], tables: list[pa.Table]) -> pa.Table:
    first = tables[0]
    for path, table in zip(paths[1:], tables[1:], strict=True):
        differing = set(first.column_names) ^ set(table.column_names)
        if differing:
            raise DataError(
                f"{path} and {paths[0]} have different columns: only one has {', '.join(sorted(differing))}"
            )
    columns = {}
    for name in first.column_names:
        kind = _common_type(name, paths, [table.schema.field(name).type for table in tables])
        columns[name] = pa.chunked_array(
            [chunk for table in tables for chunk in table.column(name).cast(kind).chunks], kind
        )
    return pa.table(columns).unify_dictionaries()


def _common_type(name: str, paths: list[Path], kinds: list[pa.DataType]) -> pa.DataType:
    common, where = kinds[0], paths[0]
    for path, kind in zip(paths, kinds, strict=True):
        if kind == common or pa.types.is_null(kind):
            continue
        if pa.types.is_null(common):
            common, where = kind, path
        elif _is_number(common) and _is_number(kind):
            common = pa.float64()
        else:
            raise DataError(
                f"column {name!r} changes its type: {_type_name(common)} in {where}, "
                f"{_type_name(kind)} in {path}"
            )
    return common


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _type_name(kind: pa.DataType) -> str:
    return "text" if kind == TEXT else str(kind)


def _plain_numbers(table: pa.Table, features: Sequence[Feature]) -> np.ndarray | None:
    """All numbers at once, a quarter of the time; None where one is missing, wrong, or needs coercion."""
    names = [feature.name for feature in features]
    if not names or any(feature.kind is not Kind.NUMERIC for feature in features):
        return None
    if table.schema.names != names:
        if not set(names).issubset(table.schema.names):
            return None
        table = table.select(names)
    if not _PLAIN.issuperset(table.schema.types):
        return None
    try:
        parts = [batch.to_tensor().to_numpy() for batch in table.to_batches()]
    except pa.ArrowTypeError:  # a null
        return None
    if not parts:
        return None
    found = (parts[0] if len(parts) == 1 else np.concatenate(parts)).astype(np.float64, copy=False)
    return found if np.isfinite(found).all() else None


def _numbers(column: pa.ChunkedArray, feature: Feature, errors: dict[int, RowError]) -> np.ndarray:
    direct = _is_number(column.type) if feature.kind is Kind.NUMERIC else False
    if not direct and not pa.types.is_boolean(column.type):
        coerce = cast("Callable[[object], float | None]", feature.coerce)
        return _by_distinct(column, feature.name, coerce, np.nan, np.float64, errors)
    array: np.ndarray = column.cast(pa.float64(), safe=False).to_numpy()
    bad = ~np.isfinite(array)
    if column.null_count:
        bad &= pc.is_valid(column).to_numpy()
    for row in np.flatnonzero(bad).tolist():
        errors.setdefault(row, RowError(feature.name, "a finite number was expected, not NaN or an infinity"))
    return array


def _codes(column: pa.ChunkedArray, feature: Feature, errors: dict[int, RowError]) -> np.ndarray:
    code_of = feature.code_of

    def code(value: object) -> int | None:
        category = cast("str | None", feature.coerce(value))
        return None if category is None else code_of.get(category, UNKNOWN_CODE)

    return _by_distinct(column, feature.name, code, MISSING_CODE, np.int64, errors)


def _python(values: pa.Array) -> list[object]:
    """As Python's values; what has none, such as the year 300,000 or a decimal of 400 places, stays
    Arrow's own, and fits nothing."""
    try:
        found: list[object] = values.to_pylist()
    except (ValueError, ArithmeticError):
        found = []
        for value in values:
            try:
                found.append(value.as_py())
            except (ValueError, ArithmeticError):
                found.append(value)
    return found


def _used(encoded: pa.DictionaryArray) -> pa.DictionaryArray:
    """Without the values that no row has, where there are more values than rows."""
    if len(encoded.dictionary) <= len(encoded):
        return encoded
    places = encoded.indices.dictionary_encode()
    return pa.DictionaryArray.from_arrays(places.indices, encoded.dictionary.take(places.dictionary))


def _by_distinct(
    column: pa.ChunkedArray,
    field: str,
    coerce: Callable[[object], float | None],
    missing: float,
    dtype: type[np.generic],
    errors: dict[int, RowError],
) -> np.ndarray:
    """Coerce each distinct value once and spread the answers over the rows."""
    parts, start = [np.empty(0, dtype)], 0
    for chunk in column.chunks:
        try:
            encoded = _used(chunk) if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
        except pa.ArrowNotImplementedError:  # lists, structs: each value is wrong, none is looked up
            encoded = pa.DictionaryArray.from_arrays(np.arange(len(chunk)), chunk)
        distinct = _python(encoded.dictionary)
        answers = np.full(len(distinct) + 1, missing, dtype)  # the last one is for null
        wrong: dict[int, str] = {}
        for i, value in enumerate(distinct):
            try:
                answer = coerce(value)
            except ValueError as error:
                wrong[i] = str(error)
                continue
            if answer is not None:
                answers[i] = answer
        indices = pc.fill_null(encoded.indices.cast(pa.int64()), len(distinct)).to_numpy()
        for i, detail in wrong.items():
            for row in np.flatnonzero(indices == i).tolist():
                errors.setdefault(start + row, RowError(field, detail))
        parts.append(answers[indices])
        start += len(chunk)
    return np.concatenate(parts)

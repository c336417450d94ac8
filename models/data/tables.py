"""Arrow tables -> the arrays that a model sees. Training and serving share this conversion."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nearnorm.models.data.files.plain import as_floats, is_number
from nearnorm.models.data.schema import MISSING_CODE, UNKNOWN_CODE, Feature, FeatureSchema, Kind

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
                read = _times if feature.kind is Kind.TIME else _numbers
                numeric[:, j] = read(table.column(feature.name), feature, errors)
    for j, feature in enumerate(schema.categorical):
        if feature.name in columns:
            codes[:, j] = _codes(table.column(feature.name), feature, errors)
    missing = np.hstack([np.isnan(numeric), codes == MISSING_CODE])
    for j, feature in enumerate(schema.scored):
        if not feature.nullable:
            for row in np.flatnonzero(missing[:, j]).tolist():
                errors.setdefault(row, RowError(feature.name, "the value is missing, and must be given"))
    extra = tuple(sorted(columns - schema.names))
    return Arrays(numeric, codes, missing, codes == UNKNOWN_CODE, errors, extra)


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
    direct = is_number(column.type) if feature.kind is Kind.NUMERIC else False
    if not direct and not pa.types.is_boolean(column.type):
        coerce = cast("Callable[[object], float | None]", feature.coerce)
        return by_distinct(column, feature.name, coerce, np.nan, np.float64, errors)
    array: np.ndarray = as_floats(column).to_numpy()
    bad = ~np.isfinite(array)
    if column.null_count:
        bad &= pc.is_valid(column).to_numpy()
    for row in np.flatnonzero(bad).tolist():
        errors.setdefault(row, RowError(feature.name, "a finite number was expected, not NaN or an infinity"))
    return array


def _times(column: pa.ChunkedArray, feature: Feature, errors: dict[int, RowError]) -> np.ndarray:
    """Times by Arrow's types at once; what is written as text or as a number value by value."""
    kind = column.type
    if not pa.types.is_temporal(kind) or pa.types.is_duration(kind) or pa.types.is_interval(kind):
        coerce = cast("Callable[[object], float | None]", feature.coerce)
        return by_distinct(column, feature.name, coerce, np.nan, np.float64, errors)
    if pa.types.is_time(kind):
        column = column.cast(pa.time64("us"), safe=False)
    elif getattr(kind, "tz", None) is None:
        column = column.cast(pa.timestamp("us"), safe=False)
    else:  # moments
        column = pc.local_timestamp(column.cast(pa.timestamp("us", feature.zone or "UTC"), safe=False))
    return _microseconds(column) / 1_000_000


def _microseconds(column: pa.ChunkedArray) -> np.ndarray:
    found: np.ndarray = column.cast(pa.int64()).cast(pa.float64(), safe=False).to_numpy()
    return found


def _codes(column: pa.ChunkedArray, feature: Feature, errors: dict[int, RowError]) -> np.ndarray:
    def code(value: object) -> int | None:
        category = cast("str | None", feature.coerce(value))
        return None if category is None else feature.code(category)

    return by_distinct(column, feature.name, code, MISSING_CODE, np.int64, errors)


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


def by_distinct(
    column: pa.ChunkedArray,
    field: str,
    coerce: Callable[[object], float | None],
    missing: float,
    dtype: type[np.generic],
    errors: dict[int, RowError],
) -> np.ndarray:
    """Coerce each distinct value once and spread the answers over the rows: [N] of `dtype`, `missing` where
    there is none. What is wrong with a row is put into `errors`, unless something is already."""
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

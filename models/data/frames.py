"""Frames in: NumPy, pandas, polars, Arrow, lists of records -> tables as `read_table` gives them.

Columns of Arrow and polars are read where they lie; NumPy's and pandas' are copied where their layout is not
Arrow's.
"""

import sys
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
from msgspec import Struct

from nearnorm.models.data.files.plain import plain
from nearnorm.models.data.spelling import spelled
from nearnorm.models.errors import DataError

FRAMES = "give a NumPy array, a pandas or polars frame, an Arrow table, or a list of records"


class Frame(Struct, frozen=True):
    """N rows of columns. `names`: as the caller gave them, None where columns have none, and are called x0,
    x1 and so on."""

    table: pa.Table
    names: tuple[str, ...] | None


def read_frame(X: Any, source: str = "X") -> Frame:  # noqa: ANN401
    """Raises DataError for what is no table of rows and columns, or has a column that is no column."""
    names, columns = _columns(X, source)
    if not columns:
        raise DataError(
            f"{source} has 0 feature(s) (shape=({_rows(X)}, 0)) while a minimum of 1 is required."
        )
    given = [f"x{i}" for i in range(len(columns))] if names is None else names
    twice = [name for name, count in Counter(given).items() if count > 1]
    if twice:
        raise DataError(f"{source} has two columns {twice[0]!r}: rename one of them")
    table = pa.table([_readable(c, n, source) for c, n in zip(columns, given, strict=True)], names=given)
    table = table.rename_columns(spelled(given))
    return Frame(table.unify_dictionaries(), None if names is None else tuple(names))


def _columns(X: Any, source: str) -> tuple[list[str] | None, list[Any]]:  # noqa: ANN401
    """Names, where there are any, and columns."""
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(X, pandas.DataFrame):
        return _names(list(X.columns), source), [X.iloc[:, i] for i in range(X.shape[1])]
    if isinstance(X, pa.RecordBatch):
        return X.schema.names, X.columns
    if hasattr(X, "__arrow_c_stream__"):
        table = _arrow(X, source)
        return table.column_names, table.columns
    if isinstance(X, list) and X and all(isinstance(row, dict) for row in X):
        names = list(dict.fromkeys(name for row in X for name in row))
        columns = [_objects([row.get(name) for row in X]) for name in names]
        return _names(names, source), columns
    return None, _array_columns(X, source)


def _array_columns(X: Any, source: str) -> list[Any]:  # noqa: ANN401
    if type(X).__module__.startswith("scipy.sparse"):
        raise DataError(f"{source} is a sparse matrix, which is not read: use its toarray()")
    if hasattr(X, "collect") or isinstance(X, (str, bytes, dict)):
        lazy = ": collect() it first" if hasattr(X, "collect") else ""
        raise DataError(f"{source} is a {type(X).__name__}{lazy}: {FRAMES}")
    try:
        array = X if isinstance(X, np.ma.MaskedArray) else np.asarray(X)
        if array.dtype.kind in "US" and not isinstance(X, np.ndarray):
            array = np.asarray(X, object)  # numbers beside texts stay numbers
    except ValueError:
        raise DataError(f"{source} has rows of different lengths: {FRAMES}") from None
    if array.dtype.kind == "c":
        raise DataError(f"Complex data not supported: {source} holds complex numbers")
    if array.dtype.names is not None:
        raise DataError(f"{source} is a structured array: {FRAMES}")
    if array.ndim != 2:
        shaped = f"Expected 2D array, got {'scalar' if not array.ndim else f'{array.ndim}D'} array instead"
        raise DataError(
            f"{shaped}: {source} has a row of values for each record. Reshape your data: reshape(-1, 1) if "
            "it has one feature, reshape(1, -1) if it is one record"
        )
    return list(array.T)


def _arrow(X: Any, source: str) -> pa.Table:  # noqa: ANN401
    try:
        table = pa.table(X)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(f"{source} cannot be read as a table: {_line(error)}: {FRAMES}") from None
    return table


def _names(names: list[Any], source: str) -> list[str] | None:
    """None where no column has a text for a name."""
    texts = [isinstance(name, str) for name in names]
    if all(texts):
        return [str(name) for name in names]
    if any(texts):
        name = names[texts.index(False)]
        raise DataError(
            f"{source}: the column name {name!r} is no text, and others are: rename it, as by "
            "X.columns.astype(str)"
        )
    return None


def _readable(column: Any, name: str, source: str) -> pa.ChunkedArray:  # noqa: ANN401
    """As `read_table` would have it from a file: text as dictionaries, NaN as null."""
    try:
        if not isinstance(column, (pa.Array, pa.ChunkedArray)):
            column = pa.array(column, from_pandas=True)
        chunked = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
        return plain(chunked)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"{source}: column {name!r} holds values that are no column: {_line(error)}: give one type of "
            "value a column, None where one is missing"
        ) from None


def _objects(values: list[Any]) -> np.ndarray:
    found = np.empty(len(values), object)
    found[:] = values
    return found


def _rows(X: Any) -> int:  # noqa: ANN401
    shape = getattr(X, "shape", None)
    return int(shape[0]) if shape else len(X)


def _line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__

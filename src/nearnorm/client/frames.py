"""What callers have records in: a table of pandas, polars or Arrow, columns, or a list of records."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from nearnorm.client.json_body import encoded

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"


@runtime_checkable
class ArrowStreamable(Protocol):
    """A table that can give itself as Arrow: of pandas, polars, pyarrow, DuckDB."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


Records: TypeAlias = Iterable[Mapping[str, Any]]
Columns: TypeAlias = Mapping[str, Sequence[Any]]
Data: TypeAlias = Records | Columns | ArrowStreamable


class RowSource(Protocol):
    """RowSource of which any range can be sent. `cells` is how many values a row has."""

    count: int
    cells: int

    def body(self, start: int, stop: int) -> tuple[bytes, str]:
        """That range as a body, and its content type."""


class RecordRows:
    def __init__(self, records: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> None:
        self.count, self._records, self._about = len(records), records, about
        self.cells = max((len(record) for record in records[:1]), default=1)

    def body(self, start: int, stop: int) -> tuple[bytes, str]:
        return encoded({**_about(self._about, start, stop), "records": self._records[start:stop]}), JSON


class ColumnRows:
    """Raises ValueError for columns of different lengths."""

    def __init__(self, columns: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        self._columns = {str(name): _values(name, column) for name, column in columns.items()}
        self._about = about
        self.count = max(map(len, self._columns.values()), default=0)
        self.cells = len(self._columns)
        for name, values in self._columns.items():
            if len(values) != self.count:
                raise ValueError(f"{name}: {len(values)} values, and others have {self.count}")

    def body(self, start: int, stop: int) -> tuple[bytes, str]:
        columns = {name: values[start:stop] for name, values in self._columns.items()}
        return encoded({**_about(self._about, start, stop), "columns": columns}), JSON


class ArrowRows:
    """An Arrow table whose columns are of types that the service reads."""

    def __init__(self, table: Any) -> None:  # noqa: ANN401 - pyarrow has no types
        self._table, self.count, self.cells = _plain(table), table.num_rows, table.num_columns

    def body(self, start: int, stop: int) -> tuple[bytes, str]:
        import pyarrow as pa

        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self._table.schema) as stream:
            stream.write_table(self._table.slice(start, stop - start))
        return sink.getvalue().to_pybytes(), ARROW


def rows_of(data: Data, about: Mapping[str, Any], *, is_bare: bool) -> RowSource:
    """What is sent of `data`: a table as Arrow where pyarrow is there and nothing else is asked for
    (`is_bare`), else as columns; columns and records as they are. `about` goes with each body of JSON.

    Raises TypeError, ValueError for what is none of them.
    """
    if isinstance(data, Mapping):
        return ColumnRows(data, about)
    if isinstance(data, ArrowStreamable):
        table = _arrow_table(data) if is_bare else None
        return ColumnRows(_columns_of(data), about) if table is None else ArrowRows(table)
    if hasattr(data, "collect_schema"):
        raise TypeError("a LazyFrame has no rows yet: send `frame.collect()`")
    if isinstance(data, str | bytes) or not isinstance(data, Iterable):
        raise TypeError(f"{type(data).__name__}: send a list of records, a dict of columns, or a table")
    records = data if isinstance(data, list | tuple) else list(data)
    for place, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise TypeError(
                f"records[{place}] is of type {type(record).__name__}: send it as a dict by feature"
            )
    return RecordRows(records, about)


def _about(about: Mapping[str, Any], start: int, stop: int) -> dict[str, Any]:
    """What goes with a range of rows: of `ids` those of the range."""
    return {name: value[start:stop] if name == "ids" else value for name, value in about.items()}


def _values(name: object, column: Any) -> Sequence[Any]:  # noqa: ANN401 - as callers have them
    if isinstance(column, list | tuple):
        return column
    if isinstance(column, str | bytes) or not isinstance(column, Iterable):
        raise TypeError(
            f"{name}: not a list of values but a {type(column).__name__}; for one record send [record]"
        )
    for method in ("to_pylist", "tolist", "to_list"):  # of Arrow, numpy and pandas, polars
        if hasattr(column, method):
            values: list[Any] = getattr(column, method)()
            return values
    return list(column)


def _is_pandas(data: object) -> bool:
    pandas: Any = sys.modules.get("pandas")
    return pandas is not None and isinstance(data, pandas.DataFrame)


def _columns_of(data: Any) -> Mapping[str, Any]:  # noqa: ANN401 - any table
    if _is_pandas(data):
        if not data.columns.is_unique:
            raise ValueError(f"{data.columns[data.columns.duplicated()][0]}: the table has this column twice")
        return {str(name): data[name] for name in data.columns}
    if hasattr(data, "iter_columns"):  # of polars
        return {column.name: column for column in data.iter_columns()}
    table = _arrow_table(data)
    if table is None:
        raise TypeError("this table cannot be read without pyarrow: pip install 'nearnorm[arrow]'")
    if len(set(table.column_names)) < table.num_columns:
        raise ValueError("the table has a column twice")
    return dict(zip(table.column_names, table.columns, strict=True))


def _arrow_table(data: Any) -> Any:  # noqa: ANN401 - pyarrow has no types
    """None where there is no pyarrow, or a column has values of several types."""
    try:
        import pyarrow as pa
    except ModuleNotFoundError:
        return None
    if not _is_pandas(data):
        return pa.table(data)
    try:
        return pa.Table.from_pandas(data, preserve_index=False)
    except (pa.ArrowException, ValueError, TypeError):  # as columns its values are looked at one by one
        return None


def _plain(table: Any) -> Any:  # noqa: ANN401 - pyarrow has no types
    """As the service reads it: no views and dictionaries (a range of rows has its own texts alone), and no
    NaN, which is a missing value."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for place, (named, column) in enumerate(zip(table.schema, table.columns, strict=True)):
        is_dictionary = pa.types.is_dictionary(named.type)
        kind = named.type.value_type if is_dictionary else named.type
        kind = pa.large_string() if kind == pa.string_view() else kind
        if is_dictionary:
            plain = [chunk.dictionary.cast(kind).take(chunk.indices) for chunk in column.chunks]
            column = pa.chunked_array(plain, kind)
        elif kind != named.type:
            column = column.cast(kind)
        if pa.types.is_floating(kind):
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
        table = table.set_column(place, pa.field(named.name, kind), column)
    return table.combine_chunks().replace_schema_metadata(None)

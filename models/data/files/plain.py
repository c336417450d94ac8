"""Arrow's many types -> the few that models know: numbers, booleans, text, times."""

import pyarrow as pa
import pyarrow.compute as pc

TEXT = pa.dictionary(pa.int32(), pa.string())


def is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def type_name(kind: pa.DataType) -> str:
    return "text" if kind == TEXT else str(kind)


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text as dictionaries, other dictionaries unpacked, extension types by their storage, decimals as
    integers where they are such and else as floats, every binary type as one, NaN as null."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        boolean = kind.extension_name == "arrow.bool8"
        storage = pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)
        return plain(storage.cast(pa.bool_()) if boolean else storage)
    if pa.types.is_run_end_encoded(kind):
        return plain(pa.chunked_array([pc.run_end_decode(chunk) for chunk in column.chunks], kind.value_type))
    if pa.types.is_dictionary(kind):
        if pa.types.is_string_view(kind.value_type):  # which Arrow does not unpack: polars' categories
            return plain(_over_strings(column))
        return plain(column.cast(kind.value_type))
    if pa.types.is_large_string(kind) or pa.types.is_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string()).cast(TEXT)
    if pa.types.is_decimal(kind):
        return _undecimal(column)
    if pa.types.is_float16(kind):
        return plain(column.cast(pa.float32()))
    if pa.types.is_floating(kind):
        nan = pc.is_nan(column)  # looked for first: without one the numbers stay where they are
        return pc.if_else(nan, pa.scalar(None, kind), column) if pc.any(nan).as_py() else column
    if _is_binary(kind):
        return column.cast(pa.binary())
    return column


def _over_strings(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = pa.dictionary(column.type.index_type, pa.string())
    parts = [pa.DictionaryArray.from_arrays(c.indices, c.dictionary.cast(pa.string())) for c in column.chunks]
    return pa.chunked_array(parts, kind)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_fixed_size_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    )


def _undecimal(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Warehouses call every integer a decimal: DECIMAL(38, 0)."""
    if column.type.scale <= 0:
        try:
            return column.cast(pa.int64())
        except pa.ArrowInvalid:  # beyond 64 bits
            pass
    return as_floats(column)


def as_floats(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Numbers -> float64. Decimals by their text, so that 12.34 is the 12.34 of JSON: by Arrow's own cast a
    third of them miss the last bit. Those of no text, with places far beyond their digits, go that way."""
    if pa.types.is_decimal(column.type) and 0 <= column.type.scale <= column.type.precision:
        column = column.cast(pa.string())
    return column.cast(pa.float64(), safe=False)

"""Rows -> a number for what each holds: equal rows share it, in whatever file, order or batch they stand.

The numbers tell rows apart and put them in an order, nothing else: what is drawn is as even for any such
numbers. Two different rows share one about once in 2^64 pairs, and are then taken for one another.
"""

import zlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nearnorm.models.data.files.plain import TEXT, is_number

Words = NDArray[np.uint64]

_STEPS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_LAST_SHIFT = 31
"""Stafford's mixing of 64 bits, as in SplitMix64: every bit of the input changes half of the others."""
_ODD = np.uint64(0x9E3779B97F4A7C15)
_MISSING = np.uint64(0x1D8E4E27C47D124F)
_WORD = 8


def contents(table: pa.Table) -> Words:
    """One number a row [N] for its values and the names of their columns. 1 and 1.0 are the same, so are 0.0
    and -0.0, and so is every missing value."""
    found = np.zeros(table.num_rows, np.uint64)
    for name, column in zip(table.column_names, table.columns, strict=True):
        salt = np.uint64(zlib.crc32(name.encode()) * int(_ODD) % 2**64)
        parts = [_values(chunk) for chunk in column.chunks]
        found += _mixed((np.concatenate(parts) if parts else found) ^ salt)  # a sum: columns have no order
    return _mixed(found)


def _mixed(words: Words) -> Words:
    words = words.copy()
    for shift, factor in _STEPS:
        words ^= words >> np.uint64(shift)
        words *= np.uint64(factor)
    words ^= words >> np.uint64(_LAST_SHIFT)
    return words


def _values(array: pa.Array) -> Words:
    kind = array.type
    if pa.types.is_null(kind):
        return np.full(len(array), _MISSING)
    if kind == TEXT:
        if len(array.dictionary) > len(array):
            return _values(array.cast(pa.string()))
        words = np.append(_bytes(array.dictionary), _MISSING)
        spread: Words = words[pc.fill_null(array.indices.cast(pa.int64()), len(array.dictionary)).to_numpy()]
        return spread
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        words = _bytes(array)
    elif pa.types.is_boolean(kind) or is_number(kind):
        words = _numbers(array)
    elif pa.types.is_temporal(kind) and kind.bit_width <= 8 * _WORD:
        words = _numbers(array.view(pa.int32() if kind.bit_width == 32 else pa.int64()))
    else:
        words = _bytes(pa.array([_told(value) for value in array], pa.string()))
    if array.null_count:
        words[pc.is_null(array).to_numpy(zero_copy_only=False)] = _MISSING
    return words


def _told(value: pa.Scalar) -> str:
    """What no model reads: lists, structs, intervals."""
    try:
        return repr(value.as_py())
    except (ValueError, ArithmeticError):  # a time that Python does not know
        return ""


def _numbers(array: pa.Array) -> Words:
    """As floats, and beside them what of a long integer is beyond their digits."""
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    if array.null_count:
        array = pc.fill_null(array, 0)
    numbers = array.to_numpy()
    floats = numbers.astype(np.float64) + 0.0
    words: Words = floats.view(np.uint64).copy()
    if numbers.dtype.kind in "iu" and numbers.dtype.itemsize == _WORD:
        with np.errstate(invalid="ignore"):  # 2^64 has no place in 64 bits
            words += (numbers - floats.astype(numbers.dtype)).astype(np.uint64) * _ODD
    return words


def _bytes(array: pa.Array) -> Words:
    """Of texts or bytes: eight bytes after eight, all texts at once; where one is missing, anything."""
    if not len(array):
        return np.empty(0, np.uint64)
    offsets = np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]
    starts, left = offsets[:-1].astype(np.int64), np.diff(offsets).astype(np.int64)
    found = left.astype(np.uint64)
    if not left.any():
        return found
    end = int(offsets[-1])
    data = np.zeros(end + _WORD, np.uint8)
    data[:end] = np.frombuffer(array.buffers()[2], np.uint8)[:end]
    windows = np.lib.stride_tricks.sliding_window_view(data, _WORD)
    rows = np.flatnonzero(left)
    while len(rows):
        words = windows[starts[rows]].view("<u8").ravel()
        short = left[rows] < _WORD
        unused = ((_WORD - left[rows][short]) * _WORD).astype(np.uint64)
        words[short] &= ~np.uint64(0) >> unused
        found[rows] = _mixed(found[rows] * _ODD + words)
        starts[rows] += _WORD
        left[rows] -= _WORD
        rows = rows[left[rows] > 0]
    return found

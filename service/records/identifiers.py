"""Identifiers: a row's id is what its caller gives, else what an identifier column of its record holds."""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Raw

from nearnorm.service.records.limits import ID_CHARACTERS
from nearnorm.service.records.shapes import Id

Ids = Sequence[Id | None]
_decode = msgspec.json.Decoder().decode
_decode_items = msgspec.json.Decoder(list[Raw]).decode
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What no model reads may be 1e999, or no text at all: it is no id then, and its row is scored."""
_MOST = 2**63
_MOST_BYTES = 4 * ID_CHARACTERS


def ids_of(columns: Iterable[Iterable[object]]) -> Ids | None:
    """Those of the first identifier column that tells any row's; None: there is none."""
    for column in columns:
        ids = [_id(value) for value in column]
        if any(found is not None for found in ids):
            return ids
    return None


def _id(value: object) -> Id | None:
    """A text or a whole number that may be kept as an id; an e-mail address is a person's, and is not."""
    if isinstance(value, Raw):
        if memoryview(value).nbytes > _MOST_BYTES:
            return None
        try:
            value = _decode(value)
        except _UNREADABLE:
            return None
    if isinstance(value, str):
        return value if 0 < len(value) <= ID_CHARACTERS and "@" not in value else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value if -_MOST <= value < _MOST else None
    return None


def cells_of(column: object) -> Sequence[object]:
    """A column that may still be text, or may not have been sent."""
    if isinstance(column, Raw):
        try:
            return _decode_items(column)
        except _UNREADABLE:
            return ()
    return column if isinstance(column, list) else ()

"""Kept columns: what no model reads and an analyst wants to see, as short texts that go with an event.

Only rows that are kept as events are looked at. Whatever a caller sends becomes a text: JSON that is no text
is shown as JSON, and what is no whole text loses only what is not.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, Raw
from numpy.typing import NDArray

from nearnorm.service.fair_shares import fair_shares

MOST_BYTES = 2_048
"""Of all kept columns of one event together, as the JSON object that the ledger keeps."""
CUT = "… (cut)"
"""Ends a text that was longer."""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(str | None).decode
_QUOTES = 2
_Packed = tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int32]]


class KeptColumns:
    """What a request holds of the columns `names`; `cell(place, j)` is what a row has in the j-th of them."""

    def __init__(self, names: Sequence[str], cell: Callable[[int, int], object]) -> None:
        self._names = names
        self._cell = cell

    def of(self, place: int) -> str | None:
        """A row's columns as JSON of MOST_BYTES at most: texts by name; None: it has none of them."""
        texts = {name: _text(self._cell(place, j)) for j, name in enumerate(self._names)}
        return _bounded({name: text for name, text in texts.items() if text is not None})

    def packed(self, count: int) -> list[NDArray[Any]]:
        """Those of `count` rows in three arrays a column, each text once: `unpack` reads them."""
        arrays: list[NDArray[Any]] = []
        for j in range(len(self._names)):
            numbers: dict[str | None, int] = {None: -1}
            codes = [
                numbers.setdefault(_text(self._cell(place, j)), len(numbers) - 1) for place in range(count)
            ]
            texts = [text.encode() for text in numbers if text is not None]
            ends = np.cumsum([0, *map(len, texts)])
            arrays += [np.frombuffer(b"".join(texts), np.uint8), ends, np.array(codes, np.int32)]
        return arrays


def unpack(names: Sequence[str], arrays: Sequence[NDArray[Any]]) -> KeptColumns:
    """What was packed in another process. No text is read before its row is asked for."""
    columns: list[_Packed] = [tuple(arrays[3 * j : 3 * j + 3]) for j in range(len(names))]  # type: ignore[misc]

    def cell(place: int, j: int) -> str | None:
        blob, ends, codes = columns[j]
        code = codes[place]
        return None if code < 0 else blob[ends[code] : ends[code + 1]].tobytes().decode()

    return KeptColumns(names, cell)


def of_columns(names: Sequence[str], columns: Sequence[Sequence[object]], count: int) -> KeptColumns:
    """Of columns one after the other; one that has not a cell for each of `count` rows tells nothing."""

    def cell(place: int, j: int) -> object:
        column = columns[j]
        return column[place] if len(column) == count else None

    return KeptColumns(names, cell)


def masked(kept: dict[str, str]) -> dict[str, str]:
    """As a list shows them: enough to tell known values apart, not to read unknown ones."""
    return {name: _masked(text) for name, text in kept.items()}


def _masked(text: str) -> str:
    """The first three characters and the last two; of up to eight the first alone."""
    return f"{text[:3]}…{text[-2:]}" if len(text) > 8 else f"{text[:1]}…"


def _text(cell: object) -> str | None:
    """A cell as text, of MOST_BYTES or a little more where it is longer; None: there is nothing in it."""
    if isinstance(cell, Raw):
        cell = _of_json(cell)
    if cell is None or cell is UNSET:
        return None
    if not isinstance(cell, str):
        cell = _as_json(cell)
    text = cell[: MOST_BYTES + 1]
    return text if text.isascii() else _whole(text)


def _of_json(cell: Raw) -> object:
    """A text or null; anything else as it was written."""
    json = bytes(cell)
    if json[:1] not in (b'"', b"n"):
        return json[: 4 * MOST_BYTES].decode(errors="replace")
    try:
        return _decode(json)
    except (msgspec.DecodeError, UnicodeDecodeError):  # bytes that are no UTF-8
        return _decode(json.decode(errors="replace").encode())


def _as_json(value: object) -> str:
    try:
        return _encode(value).decode()
    except (TypeError, ValueError, OverflowError, RecursionError):  # an integer of hundreds of digits
        return str(value)


def _whole(text: str) -> str:
    """Without halves of characters, which no encoding has."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _bounded(texts: dict[str, str]) -> str | None:
    """As JSON; where that is too long, the longest texts are cut to an even part."""
    if not texts:
        return None
    json = _encode(texts)
    if len(json) > MOST_BYTES:
        sizes = {name: len(_encode(text)) for name, text in texts.items()}
        shares = fair_shares(sizes, MOST_BYTES - (len(json) - sum(sizes.values())))
        long = {name: _cut(texts[name], share) for name, share in shares.items() if share < sizes[name]}
        json = _encode(texts | long)
    return json.decode()


def _cut(text: str, most: int) -> str:
    """So much of a text as JSON of `most` bytes holds, or a little less, with the mark that it was longer."""
    most -= _QUOTES + len(CUT.encode())
    end = most
    while (size := len(_encode(text[:end])) - _QUOTES) > most:
        end = min(end - 1, end * most // size)
    return text[:end] + CUT

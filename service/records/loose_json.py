"""JSON in any shape: what the schema's own types refuse, and what is no JSON at all.

A record, a column is decoded when its turn comes: each takes microseconds, the whole would take long.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

import msgspec
from msgspec import UNSET, Raw, UnsetType

from nearnorm.service.errors import BodyTooLarge, InvalidRequest, MalformedBody, misfit
from nearnorm.service.records.limits import RECORD_BYTES
from nearnorm.service.records.shapes import Envelope

_MOST_DIGITS = 400  # more are beyond float64, and take Python long
_WORDS = (b"NaN", b"Infinity", b"nan", b"inf")
_ESCAPED = re.compile(  # a pair, half of one, anything else
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)
_NEAR = 16  # bytes around a mistake in which its word is looked for


class _Split(Envelope, kw_only=True):
    """A request whose records and columns are still text."""

    records: list[Raw] | UnsetType = UNSET
    columns: dict[str, Raw] | UnsetType = UNSET


_split = msgspec.json.Decoder(_Split)
_loose = msgspec.json.Decoder()
_items = msgspec.json.Decoder(list[Raw])


def decode_envelope(body: bytes) -> Envelope:
    """The request, its rows as Raw text. Raises MalformedBody, InvalidRequest."""
    try:
        found = _split.decode(body)
    except msgspec.ValidationError as error:
        detail, field = misfit(error)
        raise InvalidRequest(detail, field=field) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise_malformed(body, error)
    return Envelope(
        model=found.model,
        records=found.records,
        columns=found.columns,
        ids=found.ids,
        explain=found.explain,
        strict=found.strict,
    )


def record(sent: object, place: int) -> object:
    """A record that may still be text. Raises MalformedBody, BodyTooLarge."""
    if not isinstance(sent, Raw):
        return sent
    size = memoryview(sent).nbytes
    if size > RECORD_BYTES:
        raise BodyTooLarge(
            f"record {place} has {size:,} bytes, and {RECORD_BYTES:,} are allowed: "
            "leave out what the model does not know",
            field=f"records[{place}]",
        )
    return decoded(bytes(sent))


def column(sent: object, name: str) -> list[Any]:
    """A column that may still be text. Raises MalformedBody, InvalidRequest."""
    if isinstance(sent, list):
        return sent
    assert isinstance(sent, Raw)  # noqa: S101 - as `decode_envelope` gives them
    text = bytes(sent)
    try:
        return list(_cells(text))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if isinstance(error, msgspec.ValidationError):
            raise InvalidRequest(f"{name}: send an array of values", field=name) from None
        raise_malformed(text, error)


def _cells(text: bytes) -> Iterator[object]:
    for cell in _items.decode(text):
        yield decoded(bytes(cell))


def decoded(text: bytes, what: str = "the body") -> object:
    """JSON of any shape. Raises MalformedBody, which says so of `what`."""
    try:
        return _loose.decode(text)
    except msgspec.ValidationError:  # a number beyond float64: a row's error, not the body's
        return _decode_huge_numbers(text, what)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise_malformed(text, error, what)


def _decode_huge_numbers(text: bytes, what: str) -> object:
    """JSON whose numbers may become infinite. Raises MalformedBody."""
    try:
        document = json.loads(text, parse_int=_integer)
        json.dumps(document, ensure_ascii=False).encode()  # no lone surrogates: they cannot be answered
    except (ValueError, RecursionError) as error:
        raise_malformed(text, error, what)
    return document


def _integer(digits: str) -> float:
    return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)


def whole_characters(body: bytes) -> bytes:
    """JSON in whose texts U+FFFD stands for halves of characters (\\ud800 alone), which no encoding has."""
    return _ESCAPED.sub(lambda found: rb"\ufffd" if found[1] else found[0], body)


def raise_malformed(body: bytes, error: Exception, what: str = "the body") -> NoReturn:
    """Say what is wrong with a body, or a part of it, that is no JSON."""
    if not body or body.isspace():
        raise MalformedBody("the body is empty: send JSON with `records` or `columns`") from None
    if isinstance(error, RecursionError):
        raise MalformedBody("the JSON is nested too deep") from None
    place = re.search(r"\(byte (\d+)\)", str(error))
    at = int(place[1]) if place else 0
    near = body[max(0, at - _NEAR) : at + _NEAR] if place else b""
    literal = next((w.decode() for w in _WORDS if re.search(rb"[:\[,]\s*-?" + w + rb"\b", near)), None)
    if literal:
        raise MalformedBody(f"{what} is no JSON: {literal} is no JSON number, send null") from None
    raise MalformedBody(f"{what} is no JSON: {error}") from None

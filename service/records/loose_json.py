"""JSON in any shape: what the schema's own types refuse, and what is no JSON at all."""

import json
import re
from typing import NoReturn

import msgspec

from nearnorm.service.errors import InvalidRequest, MalformedBody
from nearnorm.service.records.shapes import Envelope

MOST_NESTED = 200_000
"""Lists and objects in one body that is read in any shape: each costs Python a microsecond or more, during
which nobody else is answered. Those of 10,000 records are a twentieth of it."""

_loose = msgspec.json.Decoder()


def refuse_nested(body: bytes) -> None:
    """Raises InvalidRequest where decoding would take seconds."""
    if len(body) > MOST_NESTED and body.count(b"[") + body.count(b"{") > MOST_NESTED:
        raise InvalidRequest(f"the body has more than {MOST_NESTED} lists and objects: send fewer at once")


def decode_envelope(body: bytes) -> Envelope:
    """The request with its rows as plain JSON. Raises MalformedBody, InvalidRequest."""
    refuse_nested(body)
    try:
        document = _loose.decode(body)
    except msgspec.ValidationError:  # a number beyond float64: a row's error, not the body's
        document = _decode_huge_numbers(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise_malformed(body, error)
    try:
        return msgspec.convert(document, Envelope)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        where = path.rstrip("`").lstrip(".") or None
        raise InvalidRequest(f"{where or 'the body'}: {message}", field=where) from None


def _decode_huge_numbers(body: bytes) -> object:
    """JSON whose numbers may become infinite. Raises MalformedBody."""
    try:
        document = json.loads(body)
        json.dumps(document, ensure_ascii=False).encode()  # no lone surrogates: they cannot be answered
    except (ValueError, RecursionError) as error:
        raise_malformed(body, error)
    return document


def raise_malformed(body: bytes, error: Exception) -> NoReturn:
    """Say what is wrong with a body that is no JSON."""
    if not body.strip():
        raise MalformedBody("the body is empty: send JSON with `records` or `columns`") from None
    if isinstance(error, RecursionError):
        raise MalformedBody("the JSON is nested too deep") from None
    words = (b"NaN", b"Infinity", b"nan", b"inf")
    literal = next((w.decode() for w in words if re.search(rb"[:\[,]\s*-?" + w + rb"\b", body)), None)
    if literal:
        raise MalformedBody(f"the body is no JSON: {literal} is no JSON number, send null") from None
    raise MalformedBody(f"the body is no JSON: {error}") from None

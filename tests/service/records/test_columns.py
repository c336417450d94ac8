"""Columns of large bodies: the short way reads what the typed one reads, and leaves the rest to it."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearnorm.service.records.columns import LEAST, ColumnDecoder
from nearnorm.service.records.encoder import Encoder
from tests.service.bundles import PAYMENTS
from tests.service.records.test_encoder import body, loose, same

ENCODER = Encoder(PAYMENTS, max_rows=1000)
DECODER = ColumnDecoder(PAYMENTS)
ROOM = b" " * LEAST

numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**64)
texts = st.none() | st.sampled_from(["DE", "7", "Atlantis", "", "ü", "[", "\ud800"])
cells = {
    "amount": numbers,
    "epoch": numbers,
    "new device": st.none() | st.booleans(),
    "country": texts,
    "channel": st.sampled_from(["web", "shop"]),
    "transaction id": numbers | texts,
    "colour": texts,
}
strange = st.integers() | st.booleans() | texts | st.lists(st.integers(), max_size=2)


@st.composite
def columns(draw: st.DrawFn) -> dict[str, list[Any]]:
    rows = draw(st.integers(0, 4))
    names = draw(st.lists(st.sampled_from(list(cells)), unique=True))
    kinds = {name: cells[name] if draw(st.integers(0, 9)) else strange for name in names}
    return {name: draw(st.lists(kind, min_size=rows, max_size=rows)) for name, kind in kinds.items()}


def outcome(request: bytes, short: bool) -> Any:
    """What becomes of a request: arrays, or the error that is told."""
    try:
        decoded = ENCODER.decode(request + ROOM if short else request)
        return ENCODER.encode(decoded), decoded.ids, decoded.model, decoded.explain, decoded.strict
    except Exception as error:
        return type(error), str(error)


def agree(request: bytes) -> None:
    short, long = outcome(request, short=True), outcome(request, short=False)
    if isinstance(long[0], type):
        assert short == long
    else:
        same(short[0], long[0])
        assert short[1:] == long[1:]


@given(columns(), st.none() | st.lists(st.integers(0, 3) | st.text(max_size=2), max_size=4), st.booleans())
def test_a_large_body_becomes_what_a_small_one_does(
    sent: dict[str, list[Any]], ids: list[Any] | None, explain: bool
) -> None:
    more: dict[str, Any] = {"explain": explain} | ({} if ids is None else {"ids": ids})
    agree(body(columns=sent, **more))


def test_plain_numbers_go_the_short_way() -> None:
    request = body(columns={"amount": [1, 2.5, -3], "epoch": [None, 5, 1e300], "channel": ["web"] * 3})
    decoded = DECODER.decode(request + ROOM)
    assert decoded is not None
    np.testing.assert_array_equal(decoded.sent[0], [1.0, 2.5, -3.0])
    same(ENCODER.encode(decoded), loose(**json.loads(request)))
    assert DECODER.decode(request) is None


@pytest.mark.parametrize(
    "request_",
    [
        b'{"columns": {"amount": [[1], 2]}}',
        b'{"columns": {"amount": [[1, 2], []]}}',
        b'{"columns": {"amount": [true, 1]}}',
        b'{"columns": {"amount": [1e999, 1]}}',
        b'{"columns": {"amount": [123456789012345678901234567890, 1]}}',
        b'{"columns": {"amount": [1], "amount": [2]}}',
        b'{"columns": {"amount": [1]}, "columns": {"amount": [2]}}',
        b'{"columns": {"amount": 1}}',
        b'{"columns": {"amount": [1], "colour": ["red"]}}',
        b'{"columns": {"new device": [1]}}',
        b'{"columns": {"country": [7]}}',
        b'{"columns": [1]}',
        b'{"columns": {"amount": [1]}, "records": []}',
        b'{"columns": {"amount": [1]}, "ids": "a"}',
        b'{"columns": {"amount": [1]}, "ids": [1.5]}',
        b'{"columns": {"amount": [1]}, "explian": true}',
        b'{"columns": {"amount": [1]}} x',
        b'{"columns": {"amount": [NaN]}}',
        b'{"columns": {"channel": ["\xff"]}}',
    ],
)
def test_what_the_types_refuse_is_left_to_the_other_decoder(request_: bytes) -> None:
    assert DECODER.decode(request_ + ROOM) is None
    agree(request_)

"""Columns outside the model that are kept: what is read of them on every way in, and how long it may be."""

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nearnorm.models.data.schema import Feature, FeatureSchema, Kind
from nearnorm.service.errors import MalformedBody
from nearnorm.service.records.columns import LEAST
from nearnorm.service.records.encoded import Encoded
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.records.kept_columns import CUT, MOST_BYTES, KeptColumns, masked, unpack
from nearnorm.service.scoring import arrow
from tests.service.bundles import KEPT, PAYMENTS
from tests.service.scoring.test_bulk import stream

ENCODER = Encoder(KEPT, max_rows=1000)
RECORD: dict[str, object] = {"amount": 1.5, "channel": "web"}
ROOM = b" " * LEAST

texts = st.text(max_size=80).map(lambda text: text * 50) | st.text()
cells = st.none() | texts | st.integers() | st.booleans() | st.floats() | st.lists(texts, max_size=3)


def read(body: dict[str, Any] | bytes, encoder: Encoder = ENCODER) -> Encoded:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return encoder.encode(encoder.decode(content))


def kept(encoded: Encoded) -> list[dict[str, str] | None]:
    assert encoded.beside is not None
    texts = [encoded.beside.of(place) for place in range(encoded.count)]
    return [None if text is None else json.loads(text) for text in texts]


def of(values: dict[str, object]) -> str | None:
    names = list(values)
    return KeptColumns(names, lambda _, j: values[names[j]]).of(0)


@given(st.dictionaries(st.text(min_size=1, max_size=10), cells, max_size=30))
@example({"a": "é" * 10_000, "b": "\x00" * 10_000, "c": '"' * 10_000, "d": "short"})
@example({"a": "\ud800" * 3_000, "b": "\U0001f600" * 3_000})
def test_what_is_kept_of_an_event_is_text_of_two_kilobytes_at_most(values: dict[str, object]) -> None:
    text = of(values)
    if text is None:
        assert set(values.values()) <= {None}
        return
    assert len(text.encode()) <= MOST_BYTES
    found = json.loads(text)
    assert found.keys() == {name for name, value in values.items() if value is not None}
    for name, shown in found.items():
        value = values[name]
        if isinstance(value, str) and shown != value.encode("utf-16", "surrogatepass").decode(
            "utf-16", "replace"
        ):
            assert shown.endswith(CUT)
            assert (
                value.encode("utf-16", "surrogatepass")
                .decode("utf-16", "replace")
                .startswith(shown.removesuffix(CUT))
            )


def test_a_long_text_takes_nothing_from_short_ones() -> None:
    found = json.loads(of({"url": "x" * 10_000, "merchant": "Café Müller", "last4": "4242"}) or "")
    assert (found["merchant"], found["last4"]) == ("Café Müller", "4242")
    assert len(found["url"]) > 1_900


@pytest.mark.parametrize("more", [{}, {"nobody": 1}], ids=["typed", "loose"])
def test_records_and_columns_are_read_alike(more: dict[str, object]) -> None:
    given: list[dict[str, object]] = [
        {"merchant": "Café", "invoice": "A-1"},
        {"merchant": 7, "invoice": True},
        {"merchant": {"name": ["x"]}, "invoice": None},
        {},
    ]
    records = [RECORD | one | more for one in given]
    expected = [
        {"merchant": "Café", "invoice": "A-1"},
        {"merchant": "7", "invoice": "true"},
        {"merchant": '{"name":["x"]}'},
        None,
    ]

    def spelled(found: list[dict[str, str] | None]) -> list[dict[str, str] | None]:
        return [one and {name: text.replace(" ", "") for name, text in one.items()} for one in found]

    assert spelled(kept(read({"records": records}))) == expected
    names = [*RECORD, "merchant", "invoice", *more]
    columns = {name: [record.get(name) for record in records] for name in names}
    body = json.dumps({"columns": columns}).encode()
    assert spelled(kept(read(body))) == expected
    assert spelled(kept(read(body + ROOM))) == expected


def test_a_stream_is_read_as_json_is() -> None:
    dictionary = pa.array(["Café", None, "Bar", "Café"]).dictionary_encode()
    table = pa.table(
        {
            "amount": [1.0, 2.0, 3.0, 4.0],
            "channel": ["web"] * 4,
            "merchant": dictionary,
            "invoice": [1, 2, None, 4],
            "note": ["no"] * 4,
        }
    )
    assert kept(arrow.rows_of_stream(stream(table), ENCODER)) == [
        {"merchant": "Café", "invoice": "1"},
        {"invoice": "2"},
        {"merchant": "Bar"},
        {"merchant": "Café", "invoice": "4"},
    ]
    nested = table.set_column(2, "merchant", pa.array([["x"]] * 4))
    assert kept(arrow.rows_of_stream(stream(nested), ENCODER))[0] == {"invoice": "1"}


@pytest.mark.parametrize("place", ["records", "columns"])
def test_what_is_hostile_costs_no_row(place: str) -> None:
    values = [
        rb'"\ud800 x"',
        rb'"x\udc00\\ud800"',
        b'"\xff"',
        rb'"\u0000"',
        b"1e999",
        b'"' + b"x" * 10_000 + b'"',
        "\"\u202e<b onmouseover='x'>=1+1\"".encode(),
        b"[" * 300 + b"]" * 300,
    ]
    if place == "records":
        rows = [b'{"amount":1.5,"channel":"web","merchant":%b}' % value for value in values]
        body = b'{"records":[%b]}' % b",".join(rows)
    else:
        many = len(values)
        columns = b'"amount":[%b],"channel":[%b]' % (b",".join([b"1"] * many), b",".join([b'"web"'] * many))
        body = b'{"columns":{%b,"merchant":[%b]}}' % (columns, b",".join(values))
    encoded = read(body)
    assert len(encoded.rows) == len(values)
    found = [one and one["merchant"] for one in kept(encoded)]
    assert found[:5] == ["\ufffd x", "x\ufffd\\ud800", "\ufffd", "\x00", "1e999"]
    assert found[6] == "\u202e<b onmouseover='x'>=1+1"
    assert found[7] == "[" * 300 + "]" * 300


def test_half_a_character_is_no_json_where_nothing_is_kept() -> None:
    body = b'{"records":[{"amount":1.5,"channel":"web","merchant":"\\ud800 x"}]}'
    with pytest.raises(MalformedBody):
        read(body, Encoder(PAYMENTS, 10))


def test_a_column_of_another_length_tells_nothing() -> None:
    columns = {"amount": [1, 2], "channel": ["web"] * 2, "merchant": ["a"], "invoice": ["b", "c"]}
    assert kept(read({"columns": columns})) == [{"invoice": "b"}, {"invoice": "c"}]


def test_rows_cut_out_of_a_request_keep_their_own() -> None:
    records = [RECORD | {"merchant": name} for name in "abc"] + [{"amount": None, "merchant": "bad"}]
    encoded = read({"records": records})
    part = encoded.cut(1, 3)
    assert part.beside is not None
    assert [part.beside.of(place) for place in part.places()] == ['{"merchant":"b"}', '{"merchant":"c"}']


def test_a_schema_without_such_columns_keeps_nothing() -> None:
    sent = {"records": [RECORD | {"transaction id": "x"}]}
    assert read(sent, Encoder(PAYMENTS, 10)).beside is None


@given(st.lists(st.fixed_dictionaries({"merchant": cells, "invoice": cells}), min_size=1, max_size=20))
def test_what_another_process_packed_is_the_same(rows: list[dict[str, object]]) -> None:
    names = ("merchant", "invoice")
    columns = KeptColumns(names, lambda place, j: rows[place][names[j]])
    packed = columns.packed(len(rows))
    unpacked = unpack(names, packed)
    assert [unpacked.of(place) for place in range(len(rows))] == [
        columns.of(place) for place in range(len(rows))
    ]


def test_a_text_that_many_rows_have_is_packed_once() -> None:
    columns = KeptColumns(("merchant",), lambda _place, _j: "x" * 2_000)
    assert sum(array.nbytes for array in columns.packed(1_000)) < 10_000


def test_a_list_shows_the_ends_of_what_is_kept() -> None:
    shown = masked({"last4": "4242", "merchant": "Café Müller", "none": ""})
    assert shown == {"last4": "4…", "merchant": "Caf…er", "none": "…"}


def test_a_schema_keeps_few_columns_with_short_names() -> None:
    for names in ([f"c{i}" for i in range(33)], ["x" * 1_100]):
        with pytest.raises(ValueError, match="keep = true"):
            FeatureSchema(features=tuple(Feature(name=name, kind=Kind.IGNORED, keep=True) for name in names))
    with pytest.raises(ValueError, match="stands in the record"):
        Feature(name="amount", kind=Kind.NUMERIC, keep=True)


def test_the_version_of_a_schema_that_keeps_nothing_is_as_before() -> None:
    assert "keep" not in PAYMENTS.model_dump_json()
    assert PAYMENTS.digest == "d6f87d18c5f9caeb584e461d315d2678b0cb7b55b82aaec1e50197b7ba580135"

"""Bodies -> arrays: both paths agree, and the order and company of rows do not matter."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from nearnorm.models.data.schema import Feature, FeatureSchema, Kind
from nearnorm.service.errors import InvalidRequest
from nearnorm.service.records.encoded import Encoded
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.records.loose_json import decode_envelope
from nearnorm.service.records.shapes import Envelope
from tests.service.bundles import PAYMENTS

ENCODER = Encoder(PAYMENTS, max_rows=1000)

numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70)
texts = st.none() | st.sampled_from(["DE", "FR", "NL", "7", "true", "web", "shop", "Atlantis", ""])
whole = st.fixed_dictionaries(
    {"amount": numbers.filter(lambda v: v is not None), "channel": st.sampled_from(["web", "shop", "phone"])},
    optional={"epoch": numbers, "new device": st.none() | st.booleans(), "country": texts},
)
anything = st.dictionaries(
    st.sampled_from([f.name for f in PAYMENTS.features]) | st.text(max_size=3),
    st.none() | st.booleans() | numbers | st.text(max_size=4) | st.lists(st.integers(), max_size=1),
    max_size=7,
)


def body(**request: Any) -> bytes:
    return json.dumps(request).encode()


def typed(**request: Any) -> Encoded:
    decoded = ENCODER.decode(body(**request))
    assert type(decoded) is not Envelope
    return ENCODER.encode(decoded)


def loose(**request: Any) -> Encoded:
    return ENCODER.encode(decode_envelope(body(**request)))


def same(a: Encoded, b: Encoded) -> None:
    np.testing.assert_array_equal(a.rows.numeric, b.rows.numeric)
    np.testing.assert_array_equal(a.rows.codes, b.rows.codes)
    assert (a.count, a.kept, a.imputed, a.unknown) == (b.count, b.kept, b.imputed, b.unknown)
    assert a.errors.keys() == b.errors.keys()


def test_arrays_are_ordered_as_the_schema_not_as_the_record() -> None:
    record = {"channel": "shop", "country": "NL", "new device": True, "epoch": 5, "amount": 7}
    encoded = typed(records=[record, dict(reversed(record.items()))])
    np.testing.assert_array_equal(encoded.rows.numeric, [[7.0, 5.0, 1.0]] * 2)
    np.testing.assert_array_equal(encoded.rows.codes, [[4, 3]] * 2)


@given(st.lists(whole, min_size=1, max_size=6))
def test_the_typed_and_the_loose_path_agree(records: list[dict[str, Any]]) -> None:
    same(typed(records=records), loose(records=records))


@given(st.lists(whole, min_size=1, max_size=6))
def test_records_and_columns_agree(records: list[dict[str, Any]]) -> None:
    columns = {f.name: [record.get(f.name) for record in records] for f in PAYMENTS.scored}
    same(typed(records=records), typed(columns=columns))
    same(typed(columns=columns), loose(columns=columns))


@given(st.lists(anything, min_size=1, max_size=6))
def test_a_row_is_encoded_alone_as_in_company(records: list[dict[str, Any]]) -> None:
    together = ENCODER.encode(ENCODER.decode(body(records=records)))
    index = 0
    for place, record in enumerate(records):
        alone = ENCODER.encode(ENCODER.decode(body(records=[record])))
        assert (0 in alone.errors) == (place in together.errors)
        if place in together.errors:
            assert alone.errors[0] == together.errors[place]
            continue
        np.testing.assert_array_equal(alone.rows.numeric[0], together.rows.numeric[index])
        np.testing.assert_array_equal(alone.rows.codes[0], together.rows.codes[index])
        assert alone.imputed.get(0) == together.imputed.get(place)
        assert alone.unknown.get(0) == together.unknown.get(place)
        index += 1
    assert index == len(together.rows)


@given(st.lists(whole, min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_only_their_places(records: list[dict[str, Any]], random: Any) -> None:
    order = list(range(len(records)))
    random.shuffle(order)
    straight, shuffled = typed(records=records), typed(records=[records[i] for i in order])
    np.testing.assert_array_equal(straight.rows.numeric[order], shuffled.rows.numeric)
    np.testing.assert_array_equal(straight.rows.codes[order], shuffled.rows.codes)


def test_a_row_can_be_read_back_as_the_model_read_it() -> None:
    records = [
        {"amount": "x"},
        {"amount": "3.5", "channel": "web", "country": "Atlantis", "new device": 1, "colour": "red"},
    ]
    encoded = ENCODER.encode(ENCODER.decode(body(records=records)))
    assert ENCODER.record(encoded, 0) == {
        "amount": 3.5,
        "epoch": None,
        "new device": True,
        "country": "Atlantis",
        "channel": "web",
    }


def test_the_rows_of_a_request_are_counted_before_they_are_looked_at() -> None:
    with pytest.raises(InvalidRequest, match="3 rows"):
        ENCODER.encode(ENCODER.decode(body(records=[{}, {}, {}], ids=["a"])))
    assert ENCODER.decode(body(records=[{}])).ids is UNSET


@pytest.mark.parametrize("name", ["Amount\n(EUR)", 'height (")', "back\\slash", "tab\t"])
def test_a_column_whose_name_needs_escapes_in_json_is_read(name: str) -> None:
    schema = FeatureSchema(
        features=(Feature(name=name, kind=Kind.NUMERIC), Feature(name="f0", kind=Kind.NUMERIC))
    )
    encoder = Encoder(schema, 10)
    for sent in ({"records": [{name: 20, "f0": 3}]}, {"columns": {name: [20], "f0": [3]}}):
        encoded = encoder.encode(encoder.decode(json.dumps(sent).encode()))
        np.testing.assert_array_equal(encoded.rows.numeric, [[20.0, 3.0]])
    wrong = encoder.encode(encoder.decode(json.dumps({"records": [{name: "x"}]}).encode()))
    assert wrong.errors[0].field == name


def test_a_record_without_any_value_is_scored_and_remarked_upon_however_it_is_sent() -> None:
    schema = FeatureSchema(
        features=(
            Feature(name="amount", kind=Kind.NUMERIC),
            Feature(name="country", kind=Kind.CATEGORICAL, categories=("DE",)),
        )
    )
    encoder = Encoder(schema, max_rows=10)
    full, empty = {"amount": 1, "country": "DE"}, {"amount": None, "country": None}

    def remarks(**request: Any) -> list[str]:
        found = [encoder.encode(read(body(**request))).remarks for read in (encoder.decode, decode_envelope)]
        assert found[0] == found[1]
        return found[0]

    alone, later = (
        [f"{which} no value that the model reads: all count as missing"]
        for which in ("the record holds", "row 1 holds")
    )
    assert remarks(records=[{}]) == remarks(records=[empty]) == alone
    assert (
        remarks(records=[full, {}])
        == remarks(columns={"amount": [1, None], "country": ["DE", None]})
        == later
    )
    several = "3 rows (row 1 is the first) hold no value that the model reads: all count as missing"
    assert remarks(records=[full, {}, {"amount": 2}, empty, {"other": 3}])[-1] == several
    assert remarks(records=[{"amount": 2}, {"country": "DE"}]) == []
    lines = encoder.encode_lines(json.dumps(full).encode() + b"\n{}")
    assert (lines.remarks, lines.errors) == (later, {})
    missing_must_not = typed(records=[{}])
    assert (list(missing_must_not.errors), missing_must_not.remarks) == ([0], [])

"""What a request may hold: what takes long is refused by a count, with the field and the mend."""

import json
import re
import time
from collections.abc import Callable

import pytest

from nearnorm.models.data.schema import Feature, FeatureSchema, Kind
from nearnorm.service.errors import BodyTooLarge, InvalidRequest, ServiceError, TooManyRows
from nearnorm.service.records.encoded import Encoded
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.records.limits import (
    CATEGORY_CHARACTERS,
    ID_CHARACTERS,
    MOST_CELLS,
    MOST_VALUES,
    NAME_CHARACTERS,
    RECORD_BYTES,
    check_values,
    most_rows,
)
from tests.service.bundles import PAYMENTS

ENCODER = Encoder(PAYMENTS, 10_000)
FIELDS = len(PAYMENTS.scored)
RECORD = {"amount": 61.5, "epoch": 1700000123, "new device": False, "country": "DE", "channel": "web"}
WIDE = Encoder(
    FeatureSchema(features=tuple(Feature(name=f"{i:03}" + "x" * 60, kind=Kind.NUMERIC) for i in range(100))),
    10_000,
)


def read(body: bytes, encoder: Encoder = ENCODER) -> Encoded:
    return encoder.encode(encoder.decode(body))


def refused(body: bytes, error: type[ServiceError], seconds: float = 0.2) -> ServiceError:
    begun = time.process_time()
    with pytest.raises(error) as caught:
        read(body)
    assert time.process_time() - begun < seconds
    assert len(caught.value.detail) < 400
    return caught.value


HOSTILE: dict[str, Callable[[], bytes]] = {
    "numbers beside one beyond float64": lambda: (
        b'{"records":[{"amount":1e999,"z":[%b]}]}' % (b",".join([b"1.5"] * 1_100_000))
    ),
    "unknown fields": lambda: (
        b'{"records":[{"amount":1,%b}]}' % b",".join(b'"k%d":1' % i for i in range(1_100_000))
    ),
    "one field again and again": lambda: b'{"records":[{%b}]}' % b",".join([b'"amount":1'] * 1_100_000),
    "a column": lambda: b'{"columns":{"amount":[%b]}}' % b",".join([b"1"] * 1_100_000),
    "nested lists": lambda: b'{"records":[{"z":[%b]}]}' % b",".join([b"[]"] * 600_000),
    "deep lists": lambda: b'{"records":' + b"[" * 1_100_000,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_more_values_than_are_decoded_soon_are_counted_and_refused(what: str) -> None:
    assert "send fewer at once" in refused(HOSTILE[what](), BodyTooLarge).detail


def test_as_many_values_as_ten_thousand_rows_of_a_hundred_features_have_are_within_the_limit() -> None:
    body = b"[" + b"0," * (MOST_VALUES - 2) + b"0]"
    check_values(body)
    with pytest.raises(BodyTooLarge):
        check_values(body[:-1] + b",0,0]")


@pytest.mark.parametrize(
    "value",
    [
        "1" * 3_000_000,
        '"' + "1" * 3_000_000 + '"',
        '"' + " " * 3_000_000 + '1"',
        '"1e' + "1" * 3_000_000 + '"',
    ],
)
def test_a_record_of_megabytes_is_refused_by_its_place(value: str) -> None:
    body = f'{{"records":[{{}},{{"amount":{value},"z":"","new device":"true"}}]}}'.encode()
    error = refused(body, BodyTooLarge)
    assert error.field == "records[1]"
    assert f"{RECORD_BYTES:,}" in error.detail


@pytest.mark.parametrize("digits", [401, 5_000, 100_000])
@pytest.mark.parametrize("shape", ['{{"records":[{{"amount":{}}}]}}', '{{"columns":{{"amount":[{}]}}}}'])
def test_a_number_of_many_digits_is_its_rows_error(digits: int, shape: str) -> None:
    found = read(shape.format("1" * digits).encode())
    assert found.errors[0].field == "amount"
    assert "finite" in found.errors[0].detail


def test_a_text_too_long_for_a_number_is_not_parsed() -> None:
    long = "0." + "1" * 100_000
    assert read(json.dumps({"records": [{"amount": long}]}).encode()).errors[0].field == "amount"


def test_numbers_beyond_float64_cost_their_own_rows_and_no_others() -> None:
    rows = [b'{"amount":1e999,"channel":"web"}', b'{"amount":"1","channel":"web"}'] * 2_000
    found = read(b'{"records":[%b]}' % b",".join(rows))
    assert len(found.errors) == 2_000
    assert len(found.rows) == 2_000


@pytest.mark.parametrize("given", ["é" * (ID_CHARACTERS + 1), "i" * 3_000_000])
@pytest.mark.parametrize("shape", ["records", "columns"])
def test_an_id_too_long_to_keep_is_refused_by_its_place(given: str, shape: str) -> None:
    rows = (
        {"records": [RECORD] * 2}
        if shape == "records"
        else {"columns": {"amount": [1, 2], "channel": ["web"] * 2}}
    )
    error = refused(json.dumps({**rows, "ids": ["a", given]}).encode(), InvalidRequest)
    assert error.field == "ids[1]"
    assert str(ID_CHARACTERS) in error.detail
    assert read(json.dumps({**rows, "ids": ["a", given[:ID_CHARACTERS]]}).encode()).count == 2


def test_an_id_too_long_is_refused_beside_large_columns_too() -> None:
    columns = {"amount": [1.5] * 3_000, "channel": ["web"] * 3_000}
    ids = [*range(2_999), "i" * (ID_CHARACTERS + 1)]
    assert refused(json.dumps({"columns": columns, "ids": ids}).encode(), InvalidRequest).field == "ids[2999]"


def test_a_name_of_a_model_is_no_longer_than_an_id() -> None:
    assert (
        refused(json.dumps({"records": [RECORD], "model": "m" * 201}).encode(), InvalidRequest).field
        == "model"
    )


@pytest.mark.parametrize("shape", ["records", "columns", "loose records", "loose columns"])
def test_a_category_too_long_to_keep_is_its_rows_error(shape: str) -> None:
    most = "x" * CATEGORY_CHARACTERS
    records = [RECORD | {"country": text} for text in ("DE", most, most + "x", "FR")]
    if shape.startswith("loose"):
        records[3] |= {"amount": "1"}
    columns = {name: [record[name] for record in records] for name in RECORD}
    found = read(json.dumps({"columns": columns} if "columns" in shape else {"records": records}).encode())
    assert found.kept == [0, 1, 3]
    assert len(found.rows) == 3
    assert found.unknown == {1: {"country": most}}
    assert found.errors[2].field == "country"
    assert "shorten it" in found.errors[2].detail


def test_an_answer_repeats_no_more_of_a_name_than_one_needs_to_know_it() -> None:
    name = "n" * 1_000_000
    strict = read(json.dumps({"records": [RECORD | {name: 1}], "strict": True}).encode()).errors[0]
    assert strict.field is not None
    assert len(strict.field) == NAME_CHARACTERS
    assert len(strict.detail) < 3 * NAME_CHARACTERS
    warned = read(json.dumps({"records": [RECORD | {name: 1}]}).encode()).warnings
    assert len(warned[0]) < 2 * NAME_CHARACTERS
    columns = {"amount": [1], "channel": ["web"], name: [1]}
    refused(json.dumps({"columns": columns, "strict": True}).encode(), InvalidRequest)
    refused(json.dumps({"records": [RECORD], name: 1}).encode(), InvalidRequest)


def test_a_model_of_many_features_takes_fewer_rows_at_once() -> None:
    assert most_rows(10_000, 9) == 10_000
    assert most_rows(10_000, 300) * 300 <= MOST_CELLS
    assert most_rows(10_000, 1_000) == 1_000
    assert most_rows(10_000, 2 * MOST_CELLS) == 1


def test_an_answer_that_would_be_made_of_names_is_refused() -> None:
    empty = b'{"records":[%b]}' % b",".join([b"{}"] * 5_000)
    with pytest.raises(TooManyRows, match="name missing features in"):
        read(empty, WIDE)
    few = read(b'{"records":[{}]}', WIDE)
    assert len(few.imputed[0]) == 100


def test_a_column_that_is_no_list_is_named() -> None:
    with pytest.raises(InvalidRequest, match="amount: send an array") as caught:
        read(b'{"columns":{"amount":{"a":1},"channel":["web"]}}')
    assert caught.value.field == "amount"


def test_a_word_that_is_no_json_is_named_wherever_it_stands() -> None:
    many = b'{"amount":1},' * 100_000
    for word in ("NaN", "Infinity", "-Infinity"):
        body = b'{"records":[%b{"amount":%b}]}' % (many, word.encode())
        with pytest.raises(ServiceError, match=re.escape(word.strip("-"))):
            read(body)

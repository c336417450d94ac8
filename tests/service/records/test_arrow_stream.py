"""Arrow streams that stand for more than they are: refused before anything is decoded."""

import io
import struct
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from nearnorm.models.data.schema import Feature, FeatureSchema, Kind
from nearnorm.service.errors import (
    BodyTooLarge,
    InvalidRequest,
    MalformedBody,
    ServiceError,
    TooManyRows,
    UnsupportedMedia,
)
from nearnorm.service.records.arrow_stream import MOST_MESSAGES
from nearnorm.service.records.encoded import Encoded
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.records.limits import CATEGORY_CHARACTERS
from nearnorm.service.scoring import arrow

SCHEMA = FeatureSchema(
    features=(
        Feature(name="x", kind=Kind.NUMERIC),
        Feature(name="y", kind=Kind.NUMERIC),
        Feature(name="c", kind=Kind.CATEGORICAL, categories=("DE", "FR")),
        Feature(name="d", kind=Kind.CATEGORICAL, categories=("web",)),
        Feature(name="note", kind=Kind.IGNORED),
    )
)
MOST_ROWS = 10_000
ENCODER = Encoder(SCHEMA, MOST_ROWS)
BIG = "9" * 2_000_000


def stream(*batches: pa.RecordBatch, **options: Any) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batches[0].schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue()


def read(body: bytes) -> Encoded:
    return arrow.rows_of_stream(body, ENCODER)


def batch(**columns: pa.Array) -> pa.RecordBatch:
    return pa.record_batch(columns)


def refused(body: bytes, error: type[ServiceError]) -> ServiceError:
    """Told at once: nothing of the columns is decoded, nor as much memory taken as they stand for."""
    before, begun = pa.total_allocated_bytes(), time.process_time()
    with pytest.raises(error) as caught:
        read(body)
    assert time.process_time() - begun < 0.5
    assert pa.total_allocated_bytes() - before < 2**20
    return caught.value


def run_ends(rows: int) -> pa.Array:
    return pa.RunEndEncodedArray.from_arrays(pa.array([rows], pa.int32()), pa.array([BIG]))


def views() -> pa.Array:
    one = struct.pack("<i4sii", len(BIG), BIG[:4].encode(), 0, 0)
    buffers = [None, pa.py_buffer(one * MOST_ROWS), pa.py_buffer(BIG.encode())]
    return pa.Array.from_buffers(pa.string_view(), MOST_ROWS, buffers)


UNREAD = {
    "run-end encoded": run_ends(MOST_ROWS),
    "string view": views(),
    "list": pa.array([[1.0]]),
    "large list": pa.array([[1.0]], pa.large_list(pa.float64())),
    "fixed list": pa.array([[1.0, 2.0]], pa.list_(pa.float64(), 2)),
    "list view": pa.array([[1.0]], pa.list_view(pa.float64())),
    "struct": pa.array([{"a": 1}]),
    "map": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
    "union": pa.UnionArray.from_dense(pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.array([1])]),
    "binary": pa.array([b"DE"]),
    "fixed binary": pa.array([b""], pa.binary(0)),
    "binary view": pa.array([b"DE"], pa.binary_view()),
    "timestamp": pa.array([0], pa.timestamp("us")),
    "date": pa.array([0], pa.date32()),
    "duration": pa.array([0], pa.duration("s")),
    "wide decimal": pa.array([1], pa.decimal256(70, 0)),
    "extension": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16], pa.binary(16))),
    "dictionary of numbers": pa.array([1.0]).dictionary_encode(),
    "dictionary of lists": pa.DictionaryArray.from_arrays(pa.array([0]), pa.array([[1.0]])),
    "dictionary of views": pa.DictionaryArray.from_arrays(pa.array([0]), pa.array(["a"], pa.string_view())),
}


@pytest.mark.parametrize("kind", UNREAD)
@pytest.mark.parametrize("feature", ["x", "c"])
def test_a_scored_column_of_a_type_that_can_stand_for_more_than_its_bytes_is_refused_by_name(
    kind: str, feature: str
) -> None:
    error = refused(stream(batch(**{feature: UNREAD[kind]})), InvalidRequest)
    assert error.field == feature
    assert "send numbers, booleans or text" in error.detail


@pytest.mark.parametrize("kind", UNREAD)
@pytest.mark.parametrize("name", ["note", "colour"])
def test_a_column_that_is_not_scored_may_have_any_type_and_is_not_decoded(kind: str, name: str) -> None:
    other = UNREAD[kind]
    before = pa.total_allocated_bytes()
    found = read(stream(batch(x=pa.array([1.0] * len(other)), **{name: other})))
    assert pa.total_allocated_bytes() - before < 2**20
    assert found.count == len(other)
    assert found.warnings == ([] if name == "note" else ["unknown field 'colour' was ignored"])


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.decimal128(38, 10)])
def test_numbers_of_any_width_are_read(kind: pa.DataType) -> None:
    assert read(stream(batch(x=pa.array([3]).cast(kind)))).rows.numeric[0, 0] == 3.0


def test_rows_are_known_before_buffers_are_touched() -> None:
    refused(stream(batch(x=pa.nulls(2**31 - 1))), TooManyRows)
    ten_thousand = stream(batch(x=pa.nulls(MOST_ROWS)))
    for claimed, error in ((2**62, TooManyRows), (-1, MalformedBody), (-(2**63), MalformedBody)):
        refused(ten_thousand.replace(struct.pack("<q", MOST_ROWS), struct.pack("<q", claimed)), error)
    refused(stream(*[batch(x=pa.array([1.0] * 6_000))] * 2), TooManyRows)


def test_buffers_that_overlap_are_refused() -> None:
    """Many columns could all be the same megabytes."""
    text = pa.array(["a" * 40_001])
    one = stream(batch(x=text, y=pa.array(["b" * 40_001])))
    places = [at for at in range(len(one)) if one.startswith(struct.pack("<q", 40_001), at)]
    assert len(places) == 2
    body = bytearray(one)
    body[places[0] : places[0] + 8] = struct.pack("<q", 80_000)
    refused(bytes(body), MalformedBody)


def test_many_small_batches_are_refused() -> None:
    none, one = batch(x=pa.array([], pa.float64())), batch(x=pa.array([1.0]))
    assert read(stream(*[none] * (MOST_MESSAGES - 1), one)).count == 1
    assert "rows into each" in refused(stream(*[none] * MOST_MESSAGES, one), BodyTooLarge).detail


def test_a_description_of_many_columns_is_refused() -> None:
    columns = {f"x{number}": pa.array([1]) for number in range(20_000)}
    refused(stream(batch(x=pa.array([1.0]), **columns)), BodyTooLarge)
    told = pa.schema([("x", pa.float64())], metadata={"pandas": "x" * 2**21})
    refused(stream(pa.record_batch([[1.0]], schema=told)), BodyTooLarge)


def test_dictionaries_in_pieces_are_refused() -> None:
    """Each piece would be copied into a whole that grows: a square of what was sent."""
    grown = [
        batch(c=pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), pa.array(texts)))
        for texts in (["DE"], ["DE", "FR"])
    ]
    whole, pieces = stream(*grown), stream(*grown, emit_dictionary_deltas=True)
    assert read(whole).count == 2
    assert "whole" in refused(pieces, UnsupportedMedia).detail


def test_of_a_large_dictionary_only_what_rows_use_is_read() -> None:
    texts = pa.array([f"{number:070d}" for number in range(200_000)] + ["DE"])
    body = stream(batch(c=pa.DictionaryArray.from_arrays(pa.array([200_000, None, 7], pa.int32()), texts)))
    begun = time.process_time()
    found = read(body)
    assert time.process_time() - begun < 0.2  # 0.4 s and more where each text becomes Python's
    np.testing.assert_array_equal(found.rows.codes[:, 0], [SCHEMA.categorical[0].code_of["DE"], 0, 1])
    assert found.unknown == {2: {"c": f"{7:070d}"}}


def test_a_text_that_every_row_shares_is_made_once() -> None:
    long = pa.array([BIG])
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * MOST_ROWS, pa.int32()), long)
    begun = time.process_time()
    found = read(stream(batch(c=shared, y=shared)))
    assert time.process_time() - begun < 1.0
    assert len(found.errors) == MOST_ROWS
    assert found.errors[0].field in ("c", "y")


def test_a_category_too_long_to_keep_is_its_rows_error() -> None:
    most = "x" * CATEGORY_CHARACTERS
    found = read(stream(batch(c=pa.array(["DE", most, most + "x", None]))))
    assert found.kept == [0, 1, 3]
    assert found.unknown == {1: {"c": most}}
    assert found.errors[2].field == "c"
    assert "1000 are allowed" in found.errors[2].detail


def test_a_category_of_numbers_is_spelled_as_in_json() -> None:
    assert read(stream(batch(c=pa.array([7.0, 7.5])))).unknown == {0: {"c": "7"}, 1: {"c": "7.5"}}


def test_text_that_is_none_is_refused() -> None:
    body = stream(batch(c=pa.array(["DEDE"]))).replace(b"DEDE", b"\xff\xfe\xff\xfe")
    refused(body, MalformedBody)


def test_a_name_that_is_no_text_is_refused() -> None:
    body = stream(pa.record_batch({"x": pa.array([1.0]), "odd": pa.array([1.0])}))
    refused(body.replace(b"odd", b"\xff\xfe\xff"), MalformedBody)


@pytest.mark.parametrize("scale", [-300, -52_746, 400, 20_000])
def test_a_decimal_beyond_float64_is_its_rows_error_or_nothing(scale: int) -> None:
    """As a number it is infinite or zero; as a category it is none."""
    odd = pa.Array.from_buffers(
        pa.decimal128(38, scale), 1, [None, pa.py_buffer((10**20).to_bytes(16, "little"))]
    )
    found = read(stream(batch(x=odd, c=odd)))
    assert found.errors[0].field in ("x", "c")

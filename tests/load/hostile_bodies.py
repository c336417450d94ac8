"""Bodies that take long to read, within the limits or refused by one: what a hostile caller sends to /score.

Each is made for the names of a model's features: its bytes, its content type, and whether it is packed.
"""

import gzip
import io
import json
import struct
from collections.abc import Callable

import pyarrow as pa

JSON, ARROW = "application/json", "application/vnd.apache.arrow.stream"
Made = Callable[[tuple[str, ...]], bytes]


def rows_of(names: tuple[str, ...], value: object, count: int = 10_000) -> bytes:
    return json.dumps({"records": [dict.fromkeys(names, value)] * count}).encode()


def _stream(names: tuple[str, ...], first: pa.Array) -> bytes:
    columns = {name: pa.array([1.0] * len(first)) for name in names[1:]}
    sink = io.BytesIO()
    batch = pa.record_batch({names[0]: first, **columns})
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def _views(rows: int) -> pa.Array:
    text = b"9" * 2_000_000
    one = struct.pack("<i4sii", len(text), text[:4], 0, 0)
    return pa.Array.from_buffers(pa.string_view(), rows, [None, pa.py_buffer(one * rows), pa.py_buffer(text)])


def _run_ends(rows: int) -> pa.Array:
    return pa.RunEndEncodedArray.from_arrays(pa.array([rows], pa.int32()), pa.array(["9" * 2_000_000]))


def _one(name: str, value: bytes) -> bytes:
    return b'{"records":[{"%b":%b}]}' % (name.encode(), value)


BODIES: dict[str, tuple[Made, str, bool]] = {
    "10,000 rows": (lambda names: rows_of(names, 1.5), JSON, False),
    "10,000 rows of text": (lambda names: rows_of(names, "1.5"), JSON, False),
    "10,000 rows of nulls": (lambda names: rows_of(names, None), JSON, False),
    "10,000 rows of 3 KB texts": (lambda names: rows_of(names[:1], "x" * 3_000), JSON, False),
    "5 million numbers and 1e999": (
        lambda names: _one(names[0], b'1e999,"z":[%b]' % b",".join([b"1.5"] * 5_000_000)),
        JSON,
        False,
    ),
    "2 million unknown fields": (
        lambda names: _one(names[0], b"1," + b",".join(b'"k%d":1' % i for i in range(2_000_000))),
        JSON,
        False,
    ),
    "80,000 unknown fields": (
        lambda names: _one(names[0], b"1," + b",".join(b'"k%d":1' % i for i in range(80_000))),
        JSON,
        False,
    ),
    "an integer of 30 MB": (lambda names: _one(names[0], b"1" * 30_000_000), JSON, False),
    "a text of 30 MB for a number": (
        lambda names: _one(names[0], b'"' + b"1" * 30_000_000 + b'"'),
        JSON,
        False,
    ),
    "30 million brackets": (lambda _: b"[" * 30_000_000, JSON, False),
    "an id of 30 MB": (
        lambda names: _one(names[0], b"1")[:-1] + b',"ids":["%b"]}' % (b"i" * 30_000_000),
        JSON,
        False,
    ),
    "a field's name of 30 MB": (
        lambda _: b'{"strict":true,"records":[{"%b":1}]}' % (b"n" * 30_000_000),
        JSON,
        False,
    ),
    "31 MB of spaces in 30 KB of gzip": (
        lambda names: gzip.compress(rows_of(names, 1.5)[:-1] + b" " * 30_000_000 + b"}"),
        JSON,
        True,
    ),
    "Arrow: a run of 10,000 texts": (lambda names: _stream(names, _run_ends(10_000)), ARROW, False),
    "Arrow: views of one text": (lambda names: _stream(names, _views(10_000)), ARROW, False),
    "Arrow: 2^31 rows of nulls": (lambda names: _stream(names[:1], pa.nulls(2**31 - 1)), ARROW, False),
    "Arrow: 200,000 texts, unused": (
        lambda names: _stream(
            names,
            pa.DictionaryArray.from_arrays(
                pa.array(range(10_000), pa.int32()), pa.array([f"1{i:070}" for i in range(200_000)])
            ),
        ),
        ARROW,
        False,
    ),
}

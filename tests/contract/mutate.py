"""Bodies that are almost right: valid ones, changed in their structure, their values, their bytes."""

import copy
import gzip
import json
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

import pyarrow as pa

Body = tuple[bytes, dict[str, str]]
"""What is sent, and its headers."""

LINES = ("application/x-ndjson", "application/ndjson; charset=utf-8")

MOST_PLACES = 300
"""In a tree that still grows by the dozen: a few such steps would fill the memory."""

_NUMBERS = (0, -1, 1, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 2**64, 10**30, 1e308, -1e308, 5e-324, 0.1, -0.0)
_LONG = 300_000  # characters and digits: beyond every limit, and sent in no time
_TEXTS = (
    "",
    " ",
    "\0",
    "a\0b",
    "NaN",
    "1e999",
    "0x10",
    "١٢",
    "true",
    "null",
    "é" * 300,
    "\u202e",
    "😀",
    "DE",
    "$ref",
)
_OTHER: tuple[Any, ...] = (
    None,
    True,
    False,
    [],
    {},
    [[]],
    {"": None},
    [1, "a", None],
    {"amount": {"amount": 1}},
)
_LITERALS = (
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"-1e999",
    b"01",
    b"+1",
    b"1" * 400,
    b'"\\ud800"',
    b'"\\u0000"',
    b"tru",
)


_HUGE = (
    b"1e999",
    b"-1e400",
    b"1" * 401,
    b"1" * 5_000,
    b"1" * _LONG,
    b"0." + b"1" * _LONG,
    b'"' + b"1" * _LONG + b'"',
    b'" ' + b" " * _LONG + b'1"',
    b'"1e' + b"9" * _LONG + b'"',
)
_HOSTILE: tuple[Callable[[random.Random], bytes], ...] = (
    lambda rng: b'{"records":[{"amount":%b,"channel":"web"}]}' % rng.choice(_HUGE),
    lambda rng: b'{"columns":{"amount":[1,%b],"channel":["web","web"]}}' % rng.choice(_HUGE),
    lambda rng: b'{"records":[{"amount":1e999,"z":[%b]}]}' % b",".join([b"1.5"] * rng.choice((9, 90_000))),
    lambda rng: b'{"records":[{"amount":1,%b}]}' % _many_fields(rng.choice((9, 90_000)), rng),
    lambda rng: b'{"columns":{"amount":[1],%b}}' % _many_fields(rng.choice((9, 90_000)), rng),
    lambda rng: b'{"records":[%b]}' % b",".join([b"{}"] * rng.choice((9, 10_000, 10_001, 400_000))),
    lambda rng: b'{"columns":{"amount":[%b]}}' % b",".join([b"1"] * rng.choice((10_000, 10_001, 500_000))),
    lambda rng: b'{"ids":[%b],"records":[{}]}' % b",".join([b'"%d"' % i for i in range(200_000)]),
    lambda rng: json.dumps(
        {"records": [{}], "ids": [rng.choice("ix\0é") * rng.choice((200, 201, _LONG))]}
    ).encode(),
    lambda rng: json.dumps({"records": [{}], "model": "m" * rng.choice((200, 201, _LONG))}).encode(),
    lambda rng: json.dumps({"strict": True, "records": [{"n" * _LONG: 1, "channel": "web"}]}).encode(),
    lambda rng: json.dumps({"strict": True, "columns": {"amount": [1], "n" * _LONG: [1]}}).encode(),
    lambda rng: json.dumps({"records": [{"amount": 1}], "n" * _LONG: 1}).encode(),
    lambda rng: json.dumps(
        {"records": [{"amount": 1, "channel": "web", "country": "c" * rng.choice((1_000, 1_001, _LONG))}]}
    ).encode(),
)


def _many_fields(count: int, rng: random.Random) -> bytes:
    value = rng.choice((b"1", b"[]", b"{}", b'"x"', b"1e999"))
    return b",".join([b'"k%d":%b' % (number, value) for number in range(count)])


_HOSTILE_LINES: tuple[Callable[[random.Random], bytes], ...] = (
    lambda rng: b"\n" * rng.choice((9, 10_000, 10_001, 5_000_000)),
    lambda rng: b"{\n" * rng.choice((9, 10_000, 10_001)),
    lambda rng: b"[" * _LONG + b"\n{}",
    lambda rng: b'{"amount":1,"channel":"web"} ' * 100_000,
    lambda rng: b'{"amount":%b,"channel":"web"}\n{}' % rng.choice(_HUGE),
    lambda rng: b'{"amount":1,%b}\n{}\n' % _many_fields(rng.choice((9, 90_000)), rng),
    lambda rng: b'{"amount":1,"channel":"web","z":"%b"}\n' % (b"z" * rng.choice((2**20, 3 * 2**20))),
)


def hostile(rng: random.Random) -> Body:
    """Bodies that take long for what they are worth: huge numbers, ids and names, very many of anything."""
    if rng.random() < 0.3:
        return packed(rng.choice(_HOSTILE_LINES)(rng), {"Content-Type": LINES[0]}, rng)
    return packed(rng.choice(_HOSTILE)(rng), {"Content-Type": "application/json"}, rng)


def value(rng: random.Random) -> Any:
    """A new one each time: what stood in a tree twice could be put into itself."""
    return copy.deepcopy(rng.choice(rng.choice((_NUMBERS, _TEXTS, _OTHER))))


def mutated(document: Any, rng: random.Random, times: int) -> Any:
    """A copy with `times` places of the tree replaced, removed, doubled, renamed, wrapped or emptied."""
    root = [json.loads(json.dumps(document))]
    for _ in range(times):
        places = _places(root)
        parent, key = rng.choice(places)
        child = parent[key]
        how = rng.randrange(8)
        if how <= 2:
            parent[key] = value(rng)
        elif how == 3 and parent is not root:
            del parent[key]
        elif how == 4 and isinstance(child, list) and child and len(places) < MOST_PLACES:
            parent[key] = [copy.deepcopy(one) for _ in range(rng.choice((2, 3, 40))) for one in child]
        elif how == 5 and isinstance(parent, dict):
            parent[rng.choice((key.upper(), key + "x", "", str(value(rng))))] = parent.pop(key)
        elif how == 6:
            parent[key] = rng.choice(([child], {"value": child}, str(child), [child, copy.deepcopy(child)]))
        elif isinstance(child, list | dict):
            child.clear()
    return root[0]


def _places(node: Any) -> list[tuple[Any, Any]]:
    found = []
    stack = [node]
    while stack:
        parent = stack.pop()
        for key in list(parent) if isinstance(parent, dict) else range(len(parent)):
            found.append((parent, key))
            if isinstance(parent[key], dict | list):
                stack.append(parent[key])
    return found


def damaged(body: bytes, rng: random.Random) -> bytes:
    """Bytes flipped, cut out, doubled, or replaced by literals that are no JSON."""
    data = bytearray(body)
    for _ in range(rng.choice((1, 1, 2, 8))):
        if not data:
            break
        at = rng.randrange(len(data))
        how = rng.randrange(6)
        if how == 0:
            data[at] = rng.randrange(256)
        elif how == 1:
            del data[at : at + rng.choice((1, 4, 64, 4096))]
        elif how == 2:
            data[at:at] = data[at : at + rng.choice((1, 16, 256))]
        elif how == 3:
            data[at : at + rng.choice((0, 1, 3))] = rng.choice(_LITERALS)
        elif how == 4:
            data[at : at + 4] = rng.choice((0, 1, 2**31 - 1, 2**32 - 1)).to_bytes(4, "little")
        else:
            data[at:at] = rng.choice((b"[", b"{", b'"')) * rng.choice((1, 5000))
    return bytes(data)


def as_json(document: Any, rng: random.Random) -> Body:
    body = json.dumps(document, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    if rng.random() < 0.25:
        body = damaged(body, rng)
    return packed(body, {"Content-Type": "application/json"}, rng)


def as_lines(records: list[Any], rng: random.Random) -> Body:
    """A record a line, now and then with another end, an empty line, a mark before the first, or damage."""
    end = rng.choice((b"\n", b"\n", b"\r\n", b"\n\n", b"\r", b"\x0b", "\u2028".encode()))
    body = end.join([json.dumps(record).encode() for record in records])
    body = rng.choice((b"", b"", b"", b"\xef\xbb\xbf", b"\xff\xfe")) + body + rng.choice((b"", end))
    if rng.random() < 0.4:
        body = damaged(body, rng)
    return packed(body, {"Content-Type": rng.choice(LINES)}, rng)


def packed(body: bytes, headers: dict[str, str], rng: random.Random) -> Body:
    """Now and then as gzip or deflate, whole or not, truthfully named or not."""
    if rng.random() > 0.15:
        return body, headers
    pack: Callable[[bytes], bytes] = rng.choice((gzip.compress, zlib.compress, bytes))
    body = pack(body)
    if rng.random() < 0.3:
        body = damaged(body, rng)
    encoding = rng.choice(("gzip", "deflate", "identity", "GZIP", "br", ""))
    return body, {**headers, "Content-Encoding": encoding}


_KINDS: tuple[tuple[pa.DataType, tuple[Any, ...]], ...] = (
    (pa.float64(), (1.0, None, float("nan"), float("inf"), -1e308)),
    (pa.int64(), (1, None, -(2**63), 2**63 - 1)),
    (pa.uint64(), (1, None, 2**64 - 1)),
    (pa.int8(), (1, None, -128)),
    (pa.bool_(), (True, False, None)),
    (pa.string(), ("DE", None, "", "\0", "1e999", "😀")),
    (pa.large_string(), ("DE", None, "x" * 1000)),
    (pa.binary(), (b"DE", None, b"\xff\xfe")),
    (pa.dictionary(pa.int8(), pa.string()), ("DE", "FR", None)),
    (pa.list_(pa.int64()), ([1], None, [])),
    (pa.struct([("a", pa.int64())]), ({"a": 1}, None)),
    (pa.timestamp("us"), (0, None, 2**60)),
    (pa.date32(), (0, None)),
    (pa.null(), (None,)),
    (pa.decimal128(38, 10), (1, None)),
    (pa.decimal256(76, 0), (1, None)),
    (pa.float16(), (1.0, None)),
    (pa.string_view(), ("DE", None, "x" * 1000)),
    (pa.binary_view(), (b"DE", None)),
    (pa.binary(0), (b"", None)),
    (pa.list_view(pa.int64()), ([1], None)),
    (pa.list_(pa.float64(), 2), ([1.0, 2.0], None)),
    (pa.map_(pa.string(), pa.int64()), ([("a", 1)], None)),
    (pa.duration("s"), (0, None, 2**60)),
    (pa.large_binary(), (b"DE", None)),
)


def _run_ends(rows: int) -> pa.Array:
    """One value that stands for all rows."""
    value = pa.array(["x" * 10_000]) if rows % 2 else pa.array([1.0])
    return pa.RunEndEncodedArray.from_arrays(pa.array([max(1, rows)], pa.int32()), value).slice(0, rows)


def _union(rows: int) -> pa.Array:
    kinds, values = pa.array([0] * rows, pa.int8()), pa.array([1] * rows, pa.int64())
    return pa.UnionArray.from_sparse(kinds, [values])


def _shared_text(rows: int) -> pa.Array:
    """One long text in a dictionary, for all rows."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int8()), pa.array(["x" * 100_000]))


def _large_dictionary(rows: int) -> pa.Array:
    """A dictionary of which hardly anything is used."""
    return pa.DictionaryArray.from_arrays(pa.array([7] * rows, pa.int32()), pa.array(map(str, range(20_000))))


_MADE: tuple[Callable[[int], pa.Array], ...] = (_run_ends, _union, _shared_text, _large_dictionary)


def arrow_table(names: tuple[str, ...], rng: random.Random) -> pa.Table:
    """Columns of any type under the names of features."""
    rows = rng.choice((0, 1, 2, 7, 100))
    chosen = rng.sample(names, rng.randint(1, len(names))) + rng.choice(([], ["colour"], [names[0]], [""]))
    arrays = []
    for _ in chosen:
        if rng.random() < 0.05:
            arrays.append(rng.choice(_MADE)(rows))
            continue
        kind, values = rng.choice(_KINDS)
        arrays.append(pa.array([rng.choice(values) for _ in range(rows)], kind))
    return pa.Table.from_arrays(arrays, chosen)


def as_arrow(names: tuple[str, ...], rng: random.Random) -> Body:
    sink = pa.BufferOutputStream()
    table = arrow_table(names, rng)
    options = pa.ipc.IpcWriteOptions(
        compression=rng.choice((None, None, None, "zstd")), emit_dictionary_deltas=rng.random() < 0.2
    )
    with pa.ipc.new_stream(sink, table.schema, options=options) as stream:
        stream.write_table(table, max_chunksize=rng.choice((1, 100)))
    body = sink.getvalue().to_pybytes()
    if rng.random() < 0.1:  # another number of rows than there are
        rows = struct.pack("<q", table.num_rows)
        body = body.replace(rows, struct.pack("<q", rng.choice((-1, 0, 2**31, 2**31 - 1, 2**62))))
    if rng.random() < 0.5:
        body = damaged(body, rng)
    return packed(body, {"Content-Type": "application/vnd.apache.arrow.stream"}, rng)

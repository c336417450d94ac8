"""The loads: 1, 32 and 1,000 rows a request, spelled as each server wants them."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from tests.load.rows import NAMES, draw
from tests.load.wrk import Load

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"
Table = list[list[float]]


@dataclass(frozen=True)
class Size:
    """`bodies` different requests of `rows` each are sent in turn over `connections`."""

    name: str
    rows: int
    connections: int
    bodies: int


@dataclass(frozen=True)
class Form:
    """Where a body goes, what it is, and how it is written."""

    path: str
    content_type: str
    write: Callable[[Table], bytes]


ALONE = Size("1 row, 1 connection", 1, 1, 64)
ONE = Size("1 row, 64 connections", 1, 64, 64)
SOME = Size("32 rows, 16 connections", 32, 16, 16)
MANY = Size("1,000 rows, 4 connections", 1000, 4, 4)
SIZES = (ALONE, ONE, SOME, MANY)


def _columns(rows: Table) -> dict[str, list[float]]:
    return {name: [row[j] for row in rows] for j, name in enumerate(NAMES)}


def _arrow(rows: Table) -> bytes:
    table, sink = pa.table(_columns(rows)), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def _tensor(rows: Table) -> object:
    flat = [value for row in rows for value in row]  # as MLServer's own client sends it
    shape = [len(rows), len(NAMES)]
    return {"inputs": [{"name": "numeric", "shape": shape, "datatype": "FP64", "data": flat}]}


def _json(of: Callable[[Table], object]) -> Callable[[Table], bytes]:
    return lambda rows: json.dumps(of(rows)).encode()


FORMS = {
    "records": Form(
        "/score", JSON, _json(lambda rows: {"records": [dict(zip(NAMES, r, strict=True)) for r in rows]})
    ),
    "columns": Form("/score", JSON, _json(lambda rows: {"columns": _columns(rows)})),
    "arrow": Form("/score", ARROW, _arrow),
    "lists": Form("/score", JSON, _json(lambda rows: {"rows": rows})),
    "instances": Form("/v1/models/default:predict", JSON, _json(lambda rows: {"instances": rows})),
    "tensors": Form("/v2/models/default/infer", JSON, _json(_tensor)),
}


def load_of(size: Size, form: str) -> Load:
    """Ordinary traffic of which one row in a thousand is strange: the same rows in every form."""
    spelled = FORMS[form]
    batches = [draw(size.rows, seed, 0.001)[0].tolist() for seed in range(10, 10 + size.bodies)]
    bodies = [spelled.write(rows) for rows in batches]
    return Load(
        f"{size.name}, {form}", size.connections, size.rows, spelled.path, spelled.content_type, bodies
    )

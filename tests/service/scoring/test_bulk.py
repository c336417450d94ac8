"""Bulk callers: Arrow streams in and out, packed bodies, and clients that hang up."""

import gzip
import json
import socket
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.app import create_app
from nearnorm.service.settings import Settings
from tests.service.api.test_health import value
from tests.service.running import home_with, serving
from tests.service.scoring.test_endpoint import RECORD, problem
from tests.service.waiting import until

ARROW = "application/vnd.apache.arrow.stream"
RECORDS = [
    RECORD,
    RECORD | {"amount": 900.0, "epoch": None},
    RECORD | {"amount": None},
    RECORD | {"country": "Atlantis"},
]
NUMBERS = ("score", "percentile", "anomaly", "prototype", "distance", "reconstruction_error")


def stream(table: pa.Table, rows_a_batch: int = 2, compression: str | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=rows_a_batch)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def post(client: httpx.Client, body: bytes, **parameters: str) -> httpx.Response:
    return client.post("/score", content=body, headers={"Content-Type": ARROW}, params=parameters)


def test_an_arrow_stream_is_answered_with_the_numbers_of_json(client: httpx.Client) -> None:
    response = post(client, stream(pa.Table.from_pylist(RECORDS)))
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == ARROW
    table = pa.ipc.open_stream(response.content).read_all()
    served = client.post("/score", json={"records": RECORDS}).json()
    assert table.schema.metadata[b"version"].decode() == served["model"]["version"]
    for row, result in zip(table.to_pylist(), served["results"], strict=True):
        if "error" in result:
            assert [row[name] for name in NUMBERS] == [None] * len(NUMBERS)
            assert "amount" in row["error"]
            continue
        assert [row[n] for n in NUMBERS] == pytest.approx([result[n] for n in NUMBERS], rel=1e-5)
        assert (row["imputed"], row["unknown"]) == (result.get("imputed"), result.get("unknown"))
        assert row["error"] is None


def test_unknown_columns_of_a_stream_are_warned_of_in_its_metadata(client: httpx.Client) -> None:
    table = pa.Table.from_pylist([RECORD | {"colour": "red", "transaction id": "x"}])
    answer = pa.ipc.open_stream(post(client, stream(table)).content)
    assert answer.schema.metadata[b"warnings"] == b"unknown field 'colour' was ignored"


def test_the_model_is_named_by_a_parameter(client: httpx.Client) -> None:
    body = stream(pa.Table.from_pylist([RECORD]))
    assert post(client, body, model="default").status_code == 200
    problem(post(client, body, model="fraud"), 404, "unknown-model")


def test_a_stream_of_ten_thousand_rows_comes_back_in_order(client: httpx.Client) -> None:
    amounts = [float(i % 97) for i in range(10_000)]
    table = pa.table({"amount": amounts, "channel": ["web"] * len(amounts)})
    answer = pa.ipc.open_stream(post(client, stream(table, 1_000)).content).read_all()
    scores = answer["score"].to_pylist()
    assert scores[:97] == pytest.approx(scores[97 * 100 : 97 * 101], rel=1e-5)


@pytest.mark.parametrize("harm", [lambda b: b"", lambda b: b[:40], lambda b: b"junk" + b, lambda b: b[:-300]])
def test_a_body_that_is_no_stream_is_refused(client: httpx.Client, harm: Callable[[bytes], bytes]) -> None:
    body = harm(stream(pa.Table.from_pylist(RECORDS)))
    problem(post(client, body), 400, "malformed-body")


def test_streams_that_do_not_fit_are_refused(client: httpx.Client) -> None:
    none = pa.table({"amount": pa.array([], pa.float64())})
    problem(post(client, stream(none)), 422, "invalid-request")
    problem(post(client, stream(pa.table({"colour": ["red"]}))), 422, "invalid-request")
    twice = pa.Table.from_arrays([pa.array([1.0]), pa.array([1.0])], names=["amount", "amount"])
    assert problem(post(client, stream(twice)), 422, "invalid-request")["field"] == "amount"
    long = pa.table({"amount": pa.nulls(10_001)})
    problem(post(client, stream(long, 20_000)), 413, "too-many-rows")


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_compressed_buffers_are_refused_because_nothing_bounds_them(
    client: httpx.Client, compression: str
) -> None:
    table = pa.table({"amount": [0.0] * 1000, "country": pa.array(["DE"] * 1000).dictionary_encode()})
    body = stream(table, 1000, compression)
    assert "gzip" in problem(post(client, body), 415, "unsupported-media-type")["detail"]


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes), ("GZIP", gzip.compress)],
)
def test_a_packed_body_is_unpacked(client: httpx.Client, encoding: str, pack: Any) -> None:
    body = json.dumps({"records": [RECORD]}).encode()
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    response = client.post("/score", content=pack(body), headers=headers)
    assert response.status_code == 200, response.text


def test_the_members_of_a_gzip_body_are_read_one_behind_the_other(client: httpx.Client) -> None:
    body = json.dumps({"records": [RECORD]}).encode()
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    one, two = gzip.compress(body[:10]), gzip.compress(body[10:] + b" " * 100_000)
    letters = b"".join(gzip.compress(body[place : place + 1]) for place in range(len(body)))
    for packed in (one + two, gzip.compress(b"") + one + two + gzip.compress(b""), letters):
        assert client.post("/score", content=packed, headers=headers).status_code == 200
    for broken in (one + two[:-1], one + two + b"\x1f", one + zlib.compress(body[10:]), one + b"\x1f\x8bno"):
        problem(client.post("/score", content=broken, headers=headers), 400, "malformed-body")


def test_members_of_a_gzip_body_are_bounded_in_number_and_together_in_size(client: httpx.Client) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    many = gzip.compress(b"") * 200_000
    started = time.process_time()  # of the service, too, which runs in this process
    answer = client.post("/score", content=many, headers=headers)
    assert time.process_time() - started < 2
    assert "members" in problem(answer, 400, "malformed-body")["detail"]
    half = gzip.compress(b" " * (17 * 2**20))
    problem(client.post("/score", content=half * 2, headers=headers), 413, "body-too-large")


def test_a_packed_stream_is_unpacked(client: httpx.Client) -> None:
    body = gzip.compress(stream(pa.Table.from_pylist([RECORD])))
    headers = {"Content-Type": ARROW, "Content-Encoding": "gzip"}
    assert client.post("/score", content=body, headers=headers).status_code == 200


def test_what_a_packed_body_unpacks_to_is_bounded(client: httpx.Client) -> None:
    bomb = gzip.compress(b" " * (200 * 2**20), 9)
    assert len(bomb) < 2**20
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    problem(client.post("/score", content=bomb, headers=headers), 413, "body-too-large")


def test_a_packed_body_that_is_broken_is_refused(client: httpx.Client) -> None:
    body = gzip.compress(json.dumps({"records": [RECORD]}).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    for broken in (body[:-8], body + b"more", b"no gzip"):
        problem(client.post("/score", content=broken, headers=headers), 400, "malformed-body")
    headers["Content-Encoding"] = "br"
    problem(client.post("/score", content=body, headers=headers), 415, "unsupported-media-type")


def test_a_request_whose_client_is_gone_is_not_computed(client: httpx.Client) -> None:
    """Many large requests wait; those whose client hung up meanwhile are dropped."""
    body = json.dumps({"columns": {"amount": [1.0] * 10_000, "channel": ["web"] * 10_000}}).encode()
    head = "POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    before = value(client, "nearnorm_rows_total", model="default")
    assert client.base_url.port is not None
    for _ in range(30):
        with socket.create_connection(("127.0.0.1", client.base_url.port)) as connection:
            connection.sendall(request)
    until(lambda: client.post("/score", json={"records": [RECORD]}).status_code != 429)
    time.sleep(0.3)
    assert value(client, "nearnorm_rows_total", model="default") - before < 30 * 10_000


def test_an_overloaded_service_says_when_to_come_back(tmp_path: Path, bundle: Bundle) -> None:
    home = home_with(tmp_path / "home", bundle)
    body = json.dumps({"columns": {"amount": [1.0] * 1_000, "channel": ["web"] * 1_000}}).encode()
    with serving(create_app(Settings(home=home, max_rows=1_000, queue_rows=1_000))) as client:

        def send(_: int) -> list[httpx.Response]:
            headers = {"Content-Type": "application/json"}
            return [client.post("/score", content=body, headers=headers) for _ in range(20)]

        with ThreadPoolExecutor(8) as pool:
            responses = [response for some in pool.map(send, range(8)) for response in some]
        assert {response.status_code for response in responses} == {200, 429}
        refused = next(response for response in responses if response.status_code == 429)
        problem(refused, 429, "overloaded")
        assert refused.headers["retry-after"] == "1"
        assert client.post("/score", json={"records": [RECORD]}).status_code == 200


def test_an_arrow_stream_is_explained_as_json_is(client: httpx.Client) -> None:
    answer = post(client, stream(pa.Table.from_pylist(RECORDS)), explain="true")
    table = pa.ipc.open_stream(answer.content).read_all()
    served = client.post("/score", json={"records": RECORDS, "explain": True}).json()
    for row, result in zip(table.to_pylist(), served["results"], strict=True):
        if "error" in result:
            assert row["reasons"] is None
            continue
        told = [reason | {"value": json.dumps(reason["value"])} for reason in result["reasons"]]
        found = [reason | {"expected": json.loads(reason["expected"])} for reason in row["reasons"]]
        assert found == told


def test_an_arrow_stream_has_no_reasons_unless_asked_for(client: httpx.Client) -> None:
    answer = post(client, stream(pa.Table.from_pylist(RECORDS)))
    assert "reasons" not in pa.ipc.open_stream(answer.content).schema.names
    problem(post(client, stream(pa.Table.from_pylist(RECORDS)), explain="yes"), 422, "invalid-request")

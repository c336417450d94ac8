"""Answers are whole and in order on the wire, with their head and body written at once."""

import asyncio
import json
import socket
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from nearnorm.service.http.connection.bounds import Bounds
from nearnorm.service.http.connection.protocol import GATHERED, fast_http
from nearnorm.service.settings import Settings
from tests.service.scoring.test_endpoint import RECORD

Headers = Sequence[tuple[bytes, bytes]]


class Wire(asyncio.Transport):
    """Remembers what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self) -> None:
        self.closed = True


def exchange(app: Any, *packets: bytes) -> Wire:
    """What an application answers over one connection."""

    async def run() -> Wire:
        http = fast_http(Bounds.of(Settings()))
        config = uvicorn.Config(app, http=http, log_config=None, access_log=False)
        config.load()
        state, wire = ServerState(), Wire()
        protocol = http(config, state, {})
        protocol.connection_made(wire)
        for packet in packets:
            protocol.data_received(packet)
            await asyncio.sleep(0)
        while state.tasks:
            await asyncio.sleep(0)
        return wire

    return asyncio.run(run())


def answering(*bodies: bytes, headers: Headers = (), status: int = 200) -> Any:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        for body in bodies[:-1]:
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": bodies[-1]})

    return app


GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
TWO = (b"content-length", b"2")


def test_an_answer_of_known_length_leaves_in_one_write() -> None:
    wire = exchange(answering(b"{}", headers=[TWO]), GET)
    assert wire.written == [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"]
    assert not wire.closed


@pytest.mark.parametrize(
    ("app", "request_", "expected"),
    [
        (answering(b"a", b"b", headers=[TWO]), GET, b"content-length: 2\r\n\r\nab"),
        (answering(b"ab"), GET, b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"),
        (answering(b"ab", headers=[TWO]), GET.replace(b"GET", b"HEAD"), b"content-length: 2\r\n\r\n"),
        (
            answering(b"ab", headers=[TWO, (b"connection", b"close")]),
            GET,
            b"content-length: 2\r\nconnection: close\r\n\r\nab",
        ),
        (
            answering(b"ab", headers=[TWO]),
            GET.replace(b"1.1", b"1.0"),
            b"content-length: 2\r\nconnection: close\r\n\r\nab",
        ),
    ],
)
def test_every_other_answer_is_uvicorn_s(app: Any, request_: bytes, expected: bytes) -> None:
    wire = exchange(app, request_)
    written = b"".join(wire.written)
    if b" HTTP/1.0" in request_ and b"connection: close" not in written:
        expected = expected.replace(b"connection: close\r\n", b"")  # older uvicorns do not say so
    assert written == b"HTTP/1.1 200 OK\r\n" + expected
    assert wire.closed == (b"close" in written or b" HTTP/1.0" in request_)


@pytest.mark.parametrize("headers", [[(b"content-length", b"3")], [TWO, (b"a", b"b\r\nc: d")]])
def test_an_answer_that_cannot_be_sent_is_an_error(headers: list[tuple[bytes, bytes]]) -> None:
    wire = exchange(answering(b"ab", headers=headers), GET)
    assert b"c: d" not in b"".join(wire.written)
    assert wire.closed


def test_a_large_body_comes_at_once() -> None:
    seen: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            seen.append(len(message["body"]))
            if not message["more_body"]:
                break
        await answering(b"{}", headers=[TWO])(scope, receive, send)

    for size in (100_000, 3 * GATHERED):
        head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % size
        exchange(app, head, *[b"x" * 50_000] * (size // 50_000), b"x" * (size % 50_000))
    assert seen[0] == 100_000
    assert len(seen) > 2
    assert sum(seen[1:]) == 3 * GATHERED


def test_requests_in_one_packet_are_answered_in_order(client: httpx.Client) -> None:
    def request(number: int) -> bytes:
        body = json.dumps({"records": [RECORD], "ids": [number]}).encode()
        head = "POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    last = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", client.base_url.port or 0)) as connection:
        connection.sendall(b"".join(map(request, range(5))) + last)
        connection.settimeout(20)
        answer = b""
        while chunk := connection.recv(1 << 16):
            answer += chunk
    places = [answer.index(f'"id":{number}'.encode()) for number in range(5)]
    assert places == sorted(places)
    assert answer.count(b"HTTP/1.1 200") == 6
    assert answer.endswith(b'{"status":"alive"}')


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/jobs", "/models"])
def test_head_tells_what_get_would_without_the_body(client: httpx.Client, path: str) -> None:
    got, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(got.content))
    assert head.headers["content-type"] == got.headers["content-type"]


def test_head_is_refused_where_get_is(client: httpx.Client) -> None:
    assert client.head("/metrics").status_code == 200
    assert client.head("/nothing").status_code == 404
    assert client.head("/score").headers["allow"] == "POST"
    assert client.delete("/jobs").headers["allow"] == "GET, HEAD, POST"

"""/score without ASGI answers what it answers with it, whatever way a client sends its request."""

import asyncio
import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from uvicorn.server import ServerState

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.app import Application, create_app
from nearnorm.service.http.body import Headers
from nearnorm.service.http.connection.bounds import Bounds
from nearnorm.service.http.connection.fast_path import FastCycle, Reply
from nearnorm.service.http.connection.protocol import HttpProtocol, fast_http
from nearnorm.service.http.connection.single_write import SingleWriteCycle
from nearnorm.service.ledger.seen_lines import EVERY_LINE
from nearnorm.service.settings import Settings
from tests.service.http.connection.test_protocol import Wire
from tests.service.running import home_with, serving
from tests.service.scoring.test_endpoint import RECORD

BODY = json.dumps({"records": [RECORD]}).encode()
HEAD = b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def request(body: bytes = BODY, head: bytes = HEAD, *more: bytes) -> bytes:
    lines = [b"Content-Length: %d" % len(body), *more]
    return head + b"\r\n".join(lines) + b"\r\n\r\n" + body


class Visits:
    """A host that remembers who came, and answers when it is told to."""

    path = b"/score"
    is_full = False

    def lets_in(self, headers: Headers) -> bool:
        raise AssertionError("it is never full")

    def refuse_unread(self) -> bytes:
        raise AssertionError("nobody is refused here")

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.bodies: list[bytes] = []
        self.left = 0

    def visit(self, headers: Headers, size: int, reply: Reply) -> "Visits":
        self.replies.append(reply)
        return self

    def read(self, body: bytes) -> None:
        self.bodies.append(body)

    def gone(self) -> None:
        self.left += 1


async def elsewhere(scope: Any, receive: Any, send: Any) -> None:
    body = b"asgi " + (await receive())["body"]
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def connected(host: Visits) -> tuple[HttpProtocol, Wire]:
    protocol = fast_http(Bounds.of(Settings()), host)
    config = uvicorn.Config(elsewhere, http=protocol, log_config=None, access_log=False)
    config.load()
    wire = Wire()
    connection: HttpProtocol = protocol(config, ServerState(), {})
    connection.connection_made(wire)
    return connection, wire


async def settled(connection: HttpProtocol) -> None:
    while connection.tasks:
        await asyncio.sleep(0)


def test_a_plain_request_is_answered_without_asgi_and_in_one_write() -> None:
    async def scenario() -> None:
        host = Visits()
        connection, wire = await connected(host)
        packet = request()
        connection.data_received(packet[:-10])
        assert (host.bodies, isinstance(connection.cycle, FastCycle)) == ([], True)
        connection.data_received(packet[-10:])
        assert host.bodies == [BODY]
        host.replies[0](200, [(b"content-type", b"application/json")], b"{}")
        assert wire.written == [
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
        ]
        assert not wire.closed
        assert not connection.tasks

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "packet",
    [
        request().replace(b"/score", b"/score?model=default"),
        request().replace(b"POST", b"PUT"),
        request().replace(b"application/json", b"text/plain"),
        request(BODY, HEAD, b"Content-Encoding: identity"),
        request(BODY, HEAD, b"Expect: 100-continue"),
        request(BODY, HEAD, b"Origin: http://localhost"),
        request(BODY, HEAD, b"Host: localhost"),
        request(b" " * (2 << 20)),
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        HEAD + b"\r\n",
    ],
)
def test_whatever_is_not_plain_goes_the_way_of_asgi(packet: bytes) -> None:
    async def scenario() -> None:
        host = Visits()
        connection, wire = await connected(host)
        connection.data_received(packet)
        assert isinstance(connection.cycle, SingleWriteCycle)
        await settled(connection)
        assert b"asgi " in b"".join(wire.written)
        assert not host.replies

    asyncio.run(scenario())


def test_a_content_type_with_a_charset_is_plain_too() -> None:
    async def scenario() -> None:
        host = Visits()
        connection, _ = await connected(host)
        connection.data_received(request().replace(b"application/json", b"Application/JSON; charset=utf-8"))
        assert host.bodies == [BODY]

    asyncio.run(scenario())


def test_requests_behind_one_another_are_answered_in_order() -> None:
    async def scenario() -> None:
        host = Visits()
        connection, wire = await connected(host)
        connection.data_received(request() + request(b"second") + request(b"third"))
        assert host.bodies == [BODY]
        host.replies[0](200, [], b"first")
        await settled(connection)
        connection.data_received(request(b"fourth"))
        host.replies[1](200, [], b"fourth")
        answer = b"".join(wire.written)
        places = [answer.index(word) for word in (b"first", b"asgi second", b"asgi third", b"fourth")]
        assert places == sorted(places)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "packet",
    [request(BODY, HEAD, b"Connection: close"), request().replace(b"HTTP/1.1", b"HTTP/1.0")],
)
def test_a_connection_that_is_not_kept_is_closed_behind_the_answer(packet: bytes) -> None:
    async def scenario() -> None:
        host = Visits()
        connection, wire = await connected(host)
        connection.data_received(packet + request())
        host.replies[0](200, [], b"{}")
        await settled(connection)
        assert wire.written == [b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}"]
        assert wire.closed

    asyncio.run(scenario())


def test_a_stopping_service_answers_and_closes() -> None:
    async def scenario() -> None:
        host = Visits()
        connection, wire = await connected(host)
        connection.data_received(request())
        connection.shutdown()
        assert not wire.closed
        host.replies[0](200, [], b"{}")
        assert b"connection: close" in wire.written[0]
        assert wire.closed

    asyncio.run(scenario())


def test_whoever_hangs_up_is_taken_back_and_not_answered() -> None:
    async def scenario() -> None:
        host = Visits()
        connection, wire = await connected(host)
        connection.data_received(request())
        wire.close()
        connection.connection_lost(None)
        assert host.left == 1
        host.replies[0](200, [], b"{}")
        assert not wire.written

    asyncio.run(scenario())


def test_what_follows_a_request_and_is_no_http_is_answered_behind_it() -> None:
    async def scenario() -> None:
        host = Visits()
        connection, wire = await connected(host)
        connection.data_received(request() + b"\0\0\0\0")
        host.replies[0](200, [], b"{}")
        assert b"connection: close" in wire.written[0]
        assert wire.closed

    asyncio.run(scenario())


def test_a_refusal_before_the_body_leaves_the_connection_in_order() -> None:
    class Refusing(Visits):
        def visit(self, headers: Headers, size: int, reply: Reply) -> Visits:
            reply(401, [], b"no")
            return self

    async def scenario() -> None:
        host = Refusing()
        connection, wire = await connected(host)
        packet = request()
        for part in (packet[:-5], packet[-5:], packet):
            connection.data_received(part)
        assert [written[:12] for written in wire.written] == [b"HTTP/1.1 401"] * 2
        assert not host.bodies

    asyncio.run(scenario())


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Application:
    return create_app(Settings(home=home_with(tmp_path_factory.mktemp("direct"), bundle), audit_rate=0))


@pytest.fixture(scope="module")
def client(app: Application) -> Iterator[httpx.Client]:
    with serving(app) as client:
        yield client


@pytest.mark.parametrize(
    "body",
    [
        BODY,
        json.dumps({"records": [RECORD] * 3, "ids": [1, 2, 3], "explain": True}).encode(),
        json.dumps({"records": [RECORD, {"amount": "x"}], "strict": True}).encode(),
        json.dumps({"records": [{"amount": "x"}]}).encode(),
        json.dumps({"columns": {"amount": [1, None]}}).encode(),
        json.dumps({"records": [RECORD], "model": "nobody"}).encode(),
        json.dumps({"records": [RECORD] * 20_000}).encode(),
        b'{"records": []}',
        b"no JSON",
        b"",
    ],
)
def test_both_ways_answer_the_same(client: httpx.Client, body: bytes) -> None:
    direct = client.post("/score", content=body, headers={"Content-Type": "application/json"})
    asgi = client.post("/score?", content=body, headers={"Content-Type": "application/json"})
    assert (direct.status_code, direct.content) == (asgi.status_code, asgi.content)
    assert set(direct.headers) == set(asgi.headers)


def test_both_ways_are_counted_alike(client: httpx.Client) -> None:
    def counted() -> float:
        metric = 'nearnorm_requests_total{method="POST",route="/score",status="200"}'
        lines = client.get("/metrics").text.splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(metric)), 0.0)

    before = counted()
    for target in ("/score", "/score?"):
        assert client.post(target, json={"records": [RECORD]}).status_code == 200
    assert counted() == before + 2


def test_a_mistake_of_ours_is_told_as_one(app: Application, client: httpx.Client) -> None:
    model = app.state.registry.first(EVERY_LINE)
    engine, model.engine = model.engine, None
    try:
        answer = client.post("/score", json={"records": [RECORD]})
    finally:
        model.engine = engine
    assert answer.status_code == 500
    assert answer.json()["type"].endswith("internal-error")
    assert client.post("/score", json={"records": [RECORD]}).status_code == 200


def test_a_connection_whose_client_is_gone_holds_nothing(client: httpx.Client) -> None:
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", client.base_url.port or 0)) as connection:
            connection.sendall(request()[:-3])
    assert client.post("/score", json={"records": [RECORD]}).status_code == 200

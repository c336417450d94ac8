"""NEARNORM_HTTP=plain, uvicorn's own protocol, answers what the fast one does, request for request."""

import gzip
import json
import re
import socket
import time
import zlib
from collections.abc import Iterator
from itertools import product
from typing import Any

import httpx
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.app import create_app
from nearnorm.service.settings import Settings
from tests.service.http.raw import BODY, HOST, JSON_TYPE
from tests.service.running import home_with, serving
from tests.service.scoring.test_endpoint import RECORD

HEADERS = ("content-type", "content-length", "connection", "allow", "retry-after", "www-authenticate")
PATHS = (
    *(b"/score", b"/score?", b"/score?model=x", b"/score/", b"//score", b"/%73core", b"/score%00", b"/"),
    *(b"/feedback", b"/jobs", b"/jobs/x", b"/jobs/x/events", b"/models", b"/models/x", b"/models/x/activate"),
    *(
        b"/policy",
        b"/queue",
        b"/queue?limit=0",
        b"/queue?limt=5",
        b"/drift",
        b"/audit",
        b"/nothing",
    ),
    *(b"/healthz", b"/readyz", b"/openapi.json", b"/queue?a=%zz", b"http://localhost/queue"),
)
METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE")
BODIES = (
    BODY,
    json.dumps({"records": [RECORD] * 40, "ids": list(range(40)), "explain": True}).encode(),
    json.dumps({"records": [RECORD, {"amount": "x"}], "strict": True}).encode(),
    json.dumps({"columns": {"amount": [1, None]}}).encode(),
    json.dumps({"records": [RECORD], "model": "nobody"}).encode(),
    json.dumps({"labels": [{"record": RECORD, "label": "perhaps"}]}).encode(),
    json.dumps({"labels": [{"event_id": "01JXXXXXXXXXXXXXXXXXXXXXXX", "label": "anomaly"}]}).encode(),
    *(
        b'{"records": []}',
        b"no JSON",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"",
        b'{"records":[{"amount":1e999}]}',
    ),
)
LARGE = (b" " * 300_000 + BODY, b" " * 1_100_000 + BODY, b" " * 2_000_001)
"""Over connections that are kept: where one is closed before all is read, the answer may be lost."""


def framed(path: bytes, body: bytes) -> Iterator[list[bytes]]:
    """One request as packets, in the ways that a client may send it."""
    head = b"POST %b HTTP/1.1\r\n%b%b" % (path, HOST, JSON_TYPE)
    last, length = b"Connection: close\r\n\r\n", b"Content-Length: %d\r\n" % len(body)
    yield [head + length + last + body]
    yield [head + length + last, body]
    yield [head[:20], head[20:] + length + last + body[: len(body) // 2], body[len(body) // 2 :]]
    yield [head + length + b"Expect: 100-continue\r\n" + last, body]
    yield [(head + length + b"\r\n").replace(b"HTTP/1.1", b"HTTP/1.0") + body]
    chunk = b"%x;ext=1\r\n%b\r\n" % (len(body), body) if body else b""
    yield [head + b"Transfer-Encoding: chunked\r\n" + last + chunk + b"0\r\n\r\n"]
    packed = gzip.compress(body)
    for name, sent in (
        (b"gzip", packed),
        (b"deflate", zlib.compress(body)),
        (b"gzip", packed[:-1]),
        (b"br", body),
    ):
        yield [head + b"Content-Encoding: %b\r\nContent-Length: %d\r\n" % (name, len(sent)) + last + sent]
    yield [head.replace(JSON_TYPE, b"Content-Type: text/plain\r\n") + length + last + body]
    yield [head.replace(JSON_TYPE, b"") + length + last + body]


def kept_alive() -> Iterator[list[bytes]]:
    """Several requests over one connection, one behind the other or one after the other."""
    last = b"GET /queue HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
    for path, body in product((b"/score", b"/feedback"), BODIES[:10] + LARGE):
        head = b"POST %b HTTP/1.1\r\n%b%bContent-Length: %d\r\n\r\n" % (path, HOST, JSON_TYPE, len(body))
        yield [(head + body) * 3 + last]
        yield [head + body, head, body, last]


def requests() -> Iterator[list[bytes]]:
    for method, path in product(METHODS, PATHS):
        yield [b"%b %b HTTP/1.1\r\n%bConnection: close\r\n\r\n" % (method, path, HOST)]
    for path, body in product((b"/score", b"/feedback"), BODIES):
        yield from framed(path, body)
    yield from kept_alive()
    for headers in (b"", HOST * 2, b"Host: evil.example\r\n", HOST + b"Origin: https://evil.example\r\n"):
        for path in (b"/score", b"/healthz", b"/jobs"):
            yield [b"POST %b HTTP/1.1\r\n%bConnection: close\r\nContent-Length: 0\r\n\r\n" % (path, headers)]
    for key in (b"X-API-Key: nn_bad\r\n", b"Authorization: Basic x\r\n", b"X-API-Key: a\r\nX-API-Key: a\r\n"):
        yield [b"POST /score HTTP/1.1\r\n%b%bConnection: close\r\nContent-Length: 0\r\n\r\n" % (HOST, key)]


ALL = list(requests())


def exchange(port: int, packets: list[bytes]) -> bytes:
    """Everything that comes back until the connection is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for number, packet in enumerate(packets):
            if number:
                time.sleep(0.002)
            connection.sendall(packet)
        found = b""
        while chunk := connection.recv(1 << 20):
            found += chunk
    return found


def told(raw: bytes, heads: bool) -> list[tuple[int, dict[str, str], Any]]:
    """Answers: status, the headers that matter, and the body without ids and times."""
    found = []
    while raw:
        head, _, raw = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = 0 if heads else int(headers.get("content-length", 0))
        body, raw = raw[:length], raw[length:]
        text = re.sub(rb"01[0-9A-Z]{24}|\d{4}-\d\d-\d\dT[^\"]*", b"", body)
        matter = {name: headers[name] for name in HEADERS if name in headers}
        found.append((int(first.split()[1]), matter, text))
    return found


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Iterator[tuple[int, int]]:
    def client_of(http: str) -> Any:
        home = home_with(tmp_path_factory.mktemp(http), bundle)
        return serving(create_app(Settings(home=home, http=http, audit_rate=0, max_body_bytes=2_000_000)))  # type: ignore[arg-type]

    with client_of("fast") as fast, client_of("plain") as plain:
        yield fast.base_url.port, plain.base_url.port


def test_both_protocols_answer_the_same_to_hundreds_of_requests(ports: tuple[int, int]) -> None:
    assert len(ALL) > 600
    fast, plain = ports
    for packets in ALL:
        heads = packets[0].startswith(b"HEAD")
        ours, theirs = told(exchange(fast, packets), heads), told(exchange(plain, packets), heads)
        if b" HTTP/1.0" in packets[0]:  # closes without a word; older uvicorns say none
            for _, headers, _ in ours + theirs:
                headers.pop("connection", None)
        assert ours == theirs, packets
        assert ours


def test_the_plain_protocol_is_uvicorns_own(ports: tuple[int, int]) -> None:
    nonsense = b"nonsense\r\n\r\n"
    assert b"application/problem+json" in exchange(ports[0], [nonsense])
    assert b"text/plain" in exchange(ports[1], [nonsense])
    assert httpx.get(f"http://127.0.0.1:{ports[1]}/readyz", timeout=60).json()["ready"]

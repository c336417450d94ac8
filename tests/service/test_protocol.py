"""Answers are whole and in order on the wire, with their head and body written at once."""

import json
import socket

import httpx

from service.protocol import JoiningTransport
from tests.service.test_score import RECORD


class Wire:
    """Remembers what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.closed = True


def test_a_head_waits_for_its_body_and_nothing_else_does() -> None:
    wire = Wire()
    transport = JoiningTransport(wire)  # type: ignore[arg-type]
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
    transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    transport.write(head)
    transport.write(b"{}")
    transport.write(b"more")
    assert wire.written == [b"HTTP/1.1 100 Continue\r\n\r\n", head + b"{}", b"more"]
    transport.write(head)
    transport.close()
    assert wire.written[-1] == head
    assert wire.closed


def test_requests_in_one_packet_are_answered_in_order(client: httpx.Client) -> None:
    def request(number: int) -> bytes:
        body = json.dumps({"records": [RECORD], "ids": [number]}).encode()
        head = "POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
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


def test_a_head_without_a_body_is_sent(client: httpx.Client) -> None:
    response = client.head("/healthz")
    assert response.status_code == 405
    assert response.headers["content-length"]

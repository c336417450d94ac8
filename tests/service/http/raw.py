"""Requests byte by byte, for what no HTTP library would send, and all that comes back."""

import socket
import time
from contextlib import suppress

import httpx

from tests.contract.wire import Reply, replies

BODY = b'{"records":[{"amount":61.5,"channel":"web"}]}'
HOST = b"Host: localhost\r\n"
JSON_TYPE = b"Content-Type: application/json\r\n"


def post(path: bytes = b"/score", body: bytes = BODY, *more: bytes, host: bytes = HOST) -> bytes:
    """A POST of JSON; `more` are header lines without their end."""
    lines = b"".join(line + b"\r\n" for line in more)
    head = b"POST %b HTTP/1.1\r\n%b%b%bContent-Length: %d\r\n\r\n"
    return head % (path, host, JSON_TYPE, lines, len(body)) + body


def chunked(body: bytes = BODY, *more: bytes, path: bytes = b"/score", trailer: bytes = b"") -> bytes:
    lines = b"".join(line + b"\r\n" for line in more)
    head = b"POST %b HTTP/1.1\r\n%b%b%bTransfer-Encoding: chunked\r\n\r\n" % (path, HOST, JSON_TYPE, lines)
    return head + b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(body), body, trailer)


HEALTH = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
LAST = b"GET /healthz HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"


def answers(client: httpx.Client, *packets: bytes, pause: float = 0.05) -> list[Reply]:
    """Every answer to what is sent over one connection, until the service closes it."""
    address = (client.base_url.host, client.base_url.port or 0)
    with socket.create_connection(address, timeout=20) as connection:
        with suppress(ConnectionError):
            for number, packet in enumerate(packets):
                if number:
                    time.sleep(pause)
                connection.sendall(packet)
        return replies(connection)


def statuses(client: httpx.Client, *packets: bytes) -> list[int]:
    return [answer.status for answer in answers(client, *packets)]

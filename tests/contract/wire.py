"""Requests as bytes, for what no HTTP library would send, and answers as they came."""

import json
import socket
from dataclasses import dataclass
from typing import Any

import httpx

from nearnorm.service.errors import PROBLEM, TYPE_PREFIX
from tests.service.scoring.test_endpoint import RECORD


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def problem(self, status: int, name: str) -> dict[str, Any]:
        """The one shape of every error."""
        assert self.status == status, self.body
        assert self.headers["content-type"] == PROBLEM
        found: dict[str, Any] = json.loads(self.body)
        assert (found["type"], found["status"]) == (TYPE_PREFIX + name, status)
        assert found["title"]
        assert found["detail"]
        return found


def connect(client: httpx.Client, receive_buffer: int | None = None) -> socket.socket:
    connection = socket.socket()
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", client.base_url.port))
    return connection


def score_request(rows: int = 1, *, path: str = "/score", length: int | None = None, **options: Any) -> bytes:
    body = json.dumps({"records": [RECORD] * rows} | options).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body) if length is None else length}\r\n\r\n".encode() + body


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def reply(connection: socket.socket) -> Reply:
    """The next whole answer."""
    return replies(connection, 1)[0]


def replies(connection: socket.socket, count: int | None = None) -> list[Reply]:
    """`count` answers, or all until the connection is closed."""
    found: list[Reply] = []
    with connection.makefile("rb") as stream:
        while count is None or len(found) < count:
            line = stream.readline()
            if not line:
                break
            status = int(line.split()[1])
            headers: dict[str, str] = {}
            while (line := stream.readline().strip()) != b"":
                name, _, value = line.decode().partition(": ")
                headers[name.lower()] = value
            found.append(Reply(status, headers, stream.read(int(headers["content-length"]))))
    return found

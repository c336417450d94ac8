"""Requests that are answered without ASGI: the hot route's, as they nearly always come.

uvicorn makes a task, a scope, an event and a chain of coroutines for every request, which cost more than to
score a record. Here a plain body of known length is handed to a plain object, and its answer is one write.
Whatever is not as plain (packed or chunked, behind another request, from a browser, from a client that reads
too slowly) goes the way of ASGI, and is answered by the same code.
"""

from collections.abc import Callable
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from nearnorm.service.http.body import Headers

Reply = Callable[[int, Headers, bytes], None]
"""Takes status, headers without the length, and body; once, in the event loop."""


class Visit(Protocol):
    """A request from when its head is read until it is answered."""

    def read(self, body: bytes) -> str | None:
        """The whole body has come. Returns the line whose queue is full, if it was refused for that."""

    def gone(self) -> None:
        """Nobody waits for the answer any more."""


class Host(Protocol):
    """Answers what is posted to one path."""

    path: bytes

    @property
    def is_full(self) -> bool:
        """Requests would be refused now, whatever they say."""

    def lets_in(self, headers: Headers) -> bool:
        """Whether it would take one with these headers all the same."""

    def refuse_unread(self) -> bytes:
        """The whole answer to one of them, which is counted."""

    def visit(self, headers: Headers, size: int, reply: Reply) -> Visit:
        """A request whose body of `size` bytes will be JSON."""


class _Nobody:
    """uvicorn wakes the coroutine of a request. Here there is none."""

    def set(self) -> None: ...


class FastCycle:
    """In the place of uvicorn's request and answer, as far as a connection looks at them."""

    message_event = _Nobody()

    def __init__(self, connection: Any, keep_alive: bool) -> None:  # noqa: ANN401 - uvicorn's, half untyped
        self.connection = connection
        self.keep_alive = keep_alive
        self.more_body = True
        self.disconnected = self.response_started = self.response_complete = False
        self.chunks: list[bytes] = []
        self.visit: Visit | None = None

    def reply(self, status: int, headers: Headers, body: bytes) -> None:
        self.response_started = self.response_complete = True
        self.visit = None  # which holds on to this: nothing shall be left to the garbage collector
        connection = self.connection
        if connection.transport.is_closing():
            return
        lines = [b"%b: %b\r\n" % header for header in connection.server_state.default_headers + headers]
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        head = b"".join(lines)
        connection.transport.write(
            b"%b%bcontent-length: %d\r\n\r\n%b" % (STATUS_LINE[status], head, len(body), body)
        )
        if not self.keep_alive:
            connection.transport.close()
        connection.on_response_complete()

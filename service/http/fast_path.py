"""Requests that are answered without ASGI: the hot route's, as they nearly always come.

uvicorn makes a task, a scope, an event and a chain of coroutines for every request, which cost more than to
score a record. Here a plain body of known length is handed to a plain object, and its answer is one write.
Whatever is not as plain (packed or chunked, behind another request, from a client that reads too slowly) goes
uvicorn's way, and is answered by the same code.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from nearnorm.service.http.body import size_of_plain_json
from nearnorm.service.http.protocol import GATHERED, JoiningProtocol

Headers = list[tuple[bytes, bytes]]
Reply = Callable[[int, Headers, bytes], None]
"""Takes status, headers without the length, and body; once, in the event loop."""


class Visit(Protocol):
    """A request from when its head is read until it is answered."""

    def read(self, body: bytes) -> None:
        """The whole body has come."""

    def gone(self) -> None:
        """Nobody waits for the answer any more."""


class Host(Protocol):
    """Answers what is posted to one path."""

    path: bytes

    def visit(self, headers: Headers, size: int, reply: Reply) -> Visit:
        """A request whose body of `size` bytes will be JSON."""


class _Nobody:
    """uvicorn wakes the coroutine of a request. Here there is none."""

    def set(self) -> None: ...


class DirectCycle(RequestResponseCycle):
    """In the place of uvicorn's, as far as a connection looks at it."""

    message_event: Any = _Nobody()

    def __init__(self, connection: "DirectProtocol", keep_alive: bool) -> None:
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


class DirectProtocol(JoiningProtocol):
    """`host` answers without ASGI, where there is one."""

    host: ClassVar[Host | None] = None
    scope: Any

    def connection_lost(self, exc: Exception | None) -> None:
        cycle = self.cycle
        if isinstance(cycle, DirectCycle) and cycle.visit is not None:
            cycle.visit.gone()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self.scope = {}  # filled in where a request goes uvicorn's way

    def on_headers_complete(self) -> None:
        size = self._size_of_direct()
        if size is None:
            self.start_asgi()
            return
        self.scope["method"] = "POST"
        parser = self.parser
        keeps = parser.get_http_version() != "1.0" and parser.should_keep_alive()
        self.cycle = cycle = DirectCycle(self, keeps)
        assert self.host is not None  # noqa: S101 - else there is no size
        visit = self.host.visit(self.headers, size, cycle.reply)
        if not cycle.response_complete:
            cycle.visit = visit

    def start_asgi(self) -> None:
        """uvicorn's way."""
        begun, headers, url, expects = self.scope, self.headers, self.url, self.expect_100_continue
        super().on_message_begin()
        begun.update(self.scope, headers=headers)
        self.scope, self.headers, self.url, self.expect_100_continue = begun, headers, url, expects
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if cycle.__class__ is not DirectCycle:
            super().on_body(body)
        elif not cycle.response_complete:
            cycle.chunks.append(body)

    def on_message_complete(self) -> None:
        cycle = self.cycle
        if cycle.__class__ is not DirectCycle:
            super().on_message_complete()
        elif cycle.visit is not None:
            cycle.more_body = False
            chunks, cycle.chunks = cycle.chunks, []  # no body is held while its rows wait
            cycle.visit.read(chunks[0] if len(chunks) == 1 else b"".join(chunks))

    def _size_of_direct(self) -> int | None:
        """Bytes of the body of a request that needs no ASGI; None where it does."""
        host, cycle = self.host, self.cycle
        if host is None or self.url != host.path or self.parser.get_method() != b"POST":
            return None
        if cycle is not None and not cycle.response_complete:
            return None  # it waits for its turn
        if self.flow.write_paused or self.transport.is_closing():
            return None
        size = size_of_plain_json(self.headers)
        return None if size is None or size > GATHERED else size

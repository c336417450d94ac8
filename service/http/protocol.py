"""uvicorn's HTTP protocol, with what its general way costs taken out of the hot one.

An answer whose length is known leaves in one write: uvicorn writes head and body apart, and each write is
a system call that wakes the client. A large body is given to the application at once, not 64 KB at a time.
"""

from asyncio import Transport
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

GATHERED = 1 << 20
"""Bytes of a body that are waited for before the application sees any of them."""
_SPECIAL = frozenset({b"connection", b"transfer-encoding"})


class JoiningCycle(RequestResponseCycle):
    """Holds an answer's head back until its body comes."""

    _head: Any = None  # uvicorn's types of messages are its own

    async def send(self, message: Any) -> None:  # noqa: ANN401
        if self._head is None and not self.response_started and message["type"] == "http.response.start":
            self._head = message
            return
        head, self._head = self._head, None
        if head is None:
            await super().send(message)
            return
        whole = self._whole(head, message)
        if whole is None:
            await super().send(head)
            await super().send(message)
            return
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.transport.write(whole)
        self.message_event.set()
        self.on_response()

    def _whole(self, head: Any, message: Any) -> bytes | None:  # noqa: ANN401
        """The answer as it goes over the wire; None where there is more to it than that."""
        if message.get("more_body") or not self.keep_alive or self.scope["method"] == "HEAD":
            return None
        if self.disconnected or self.flow.write_paused or self.access_log:
            return None
        headers, body, length = self.default_headers + head["headers"], message.get("body", b""), b""
        parts = [STATUS_LINE[head["status"]]]
        for name, value in headers:
            if name == b"content-length":
                length = value
            elif name in _SPECIAL:
                return None
            parts += name, b": ", value, b"\r\n"
        told = b"".join(parts)
        if int(length or -1) != len(body) or told.count(b"\n") != len(headers) + 1:
            return None
        return b"".join((told, b"\r\n", body))


class JoiningProtocol(HttpToolsProtocol):
    transport: Transport

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        whole = len(cycle.body) + len(body)
        if whole > GATHERED or cycle.response_complete or self.parser.should_upgrade():
            super().on_body(body)
        else:
            cycle.body += body

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401
        cycle.__class__ = JoiningCycle
        super()._start_asgi_task(cycle, app)

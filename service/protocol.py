"""uvicorn's HTTP protocol, with the head of an answer and its body leaving in one write.

uvicorn writes them apart, and each write is a system call that wakes the client: for small answers a
tenth of what a request costs.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_START, _END = b"HTTP/1.1 ", b"\r\n\r\n"


class JoiningTransport:
    """Holds back a head until the body comes. Everything else is the transport's own."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self._write = transport.write

    def write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(_START) and data.endswith(_END) and data[9:10] != b"1":
            self._head = data  # an interim answer (1xx) has no body, and goes at once
            return
        self._write(data)

    def flush(self) -> None:
        """Send a head that no body follows, as that of an answer to HEAD."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._transport, name)


class JoiningProtocol(HttpToolsProtocol):
    _joining: JoiningTransport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._joining = JoiningTransport(transport)
        super().connection_made(self._joining)  # type: ignore[arg-type]

    def on_response_complete(self) -> None:
        self._joining.flush()
        super().on_response_complete()

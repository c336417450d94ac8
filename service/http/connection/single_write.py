"""An answer of known length leaves in one write.

uvicorn writes head and body apart, and each write is a system call that wakes the client.
"""

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

_SPECIAL = frozenset({b"connection", b"transfer-encoding"})


class SingleWriteCycle(RequestResponseCycle):
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

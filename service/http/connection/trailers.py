"""Trailers: fields behind a chunked body are read by nobody, so that none says what the head did not."""

from nearnorm.service.errors import MalformedRequest
from nearnorm.service.http.connection.bounds import Bounds
from nearnorm.service.http.connection.refusals import trailers_too_large

_FRAMING = frozenset(
    {b"connection", b"proxy-connection", b"upgrade", b"content-length", b"transfer-encoding"}
)
"""The parser does heed these: they may not stand there (RFC 9110, 6.5.1)."""


class Trailers:
    """Those of one request, counted."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._fields = self._bytes = 0

    def drop(self, name: bytes, value: bytes) -> None:
        """Raises MalformedRequest, HeadersTooLarge."""
        if name.lower() in _FRAMING:
            raise MalformedRequest(f"{name.decode('latin-1')} may not stand behind the body")
        self._fields += 1
        self._bytes += len(name) + len(value) + 4
        if self._fields > self._bounds.headers or self._bytes > self._bounds.header_bytes:
            raise trailers_too_large(self._bounds)

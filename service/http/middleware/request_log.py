"""Whose request it is: ids that callers send, a log line a request, spans. Switched on by settings.

Only ids are told, never a record's values. A request's trace is the caller's own (W3C Trace Context).
"""

import re
import time
from collections.abc import Iterable, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nearnorm.models.errors import ConfigError
from nearnorm.service.ids import new_id
from nearnorm.service.logs import log

SERVED = "nearnorm.served"
"""Where /score leaves the model version and the event ids of its answer, in the ASGI scope."""

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")


def request_ids(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """`request_id` as sent by X-Request-ID, or a new one; `trace_id` where a traceparent is sent.

    Values that are no ids are taken for not sent.
    """
    ids = {"request_id": ""}
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(text := value.decode("latin-1")):
            ids["request_id"] = text
        elif name == b"traceparent" and (trace := trace_of(value.decode("latin-1"))):
            ids["trace_id"] = trace
    ids["request_id"] = ids["request_id"] or new_id()
    return ids


def trace_of(traceparent: str) -> str | None:
    """The trace id of a valid traceparent header; versions to come may have more to say behind it."""
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None or found[1] == "ff" or (found[1] == "00" and found[4]):
        return None
    return found[2] if found[2].strip("0") and found[3].strip("0") else None


class SentAnswer:
    """An answer on its way: its status, 0 until it begins, and the seconds since its request came."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._started = time.perf_counter()
        self.status = 0

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._started

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


class LoggedRequests:
    """One log line a request, once it is answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = SentAnswer(send)
        try:
            await self._app(scope, receive, answer.send)
        finally:
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=answer.status,
                ms=round(answer.seconds * 1e3, 3),
                **request_ids(scope["headers"]),
                **_served(scope),
            )


def _served(scope: Mapping[str, object]) -> dict[str, object]:
    served = scope.get(SERVED)
    if not isinstance(served, tuple):
        return {}
    version, event_ids = served
    return {"model_version": version, "event_ids": list(event_ids)}


def traced(app: ASGIApp) -> ASGIApp:
    """A span a request, sent by OTLP to where the usual OTEL_ variables say.

    Raises ConfigError where the extra otel is not installed.
    """
    try:
        from nearnorm.service.http.middleware.tracing import TracedRequests
    except ImportError:
        raise ConfigError("NEARNORM_TRACES=true needs the extra otel: pip install 'nearnorm[otel]'") from None
    return TracedRequests(app)

"""Clients that harm others: slow ones are cut off, heads and connections are bounded.

No request pays for it: one look over all connections, a few times in the shortest limit, finds those
that have stood in the same place for too long.
"""

import asyncio
import resource
import time
from collections.abc import Callable
from enum import Enum
from typing import Any, ClassVar

import httptools
from msgspec import Struct
from starlette.types import Receive, Scope, Send

from nearnorm.service.errors import (
    HeadersTooLarge,
    MalformedRequest,
    RequestTimeout,
    ServiceError,
    TooManyConnections,
    problem_response,
    raw_response,
)
from nearnorm.service.http.backpressure import Backpressure
from nearnorm.service.http.body import size_of_body
from nearnorm.service.http.fast_path import DirectProtocol, Host
from nearnorm.service.logs import log
from nearnorm.service.settings import Settings

RESERVED = 64
"""Connections beyond the bound that are still answered: /healthz and /readyz, and a 429 for the rest."""
_OTHER_FILES = 128  # the store, the ledger, the log, what connects to a database
_ALWAYS = (b"/healthz", b"/readyz")
_LOOKS = 4
_PARTING = 0.1  # seconds that a stopping service listens on: a request may be on its way already


class Stage(Enum):
    """What a connection does now. In all but ANSWERED, the client is whom the service waits for."""

    IDLE = "idle"
    SENDING = "sending"
    READING = "reading"
    ANSWERED = "answered"


class Bounds(Struct, frozen=True):
    """`patience`: seconds in one stage, after which a connection is closed."""

    connections: int
    headers: int
    header_bytes: int
    patience: dict[Stage, float]

    @classmethod
    def of(cls, settings: Settings) -> "Bounds":
        return cls(
            connections=_allowed(settings.max_connections),
            headers=settings.max_headers,
            header_bytes=settings.max_header_bytes,
            patience={
                Stage.IDLE: settings.idle_seconds,
                Stage.SENDING: settings.receive_seconds,
                Stage.READING: settings.send_seconds,
            },
        )


def _allowed(wanted: int) -> int:
    """As many connections as there may be open files: the soft limit is raised where it is too low."""
    needed = wanted + RESERVED + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < needed:
            log.warning("few open files are allowed", files=soft, wanted=needed)
            return max(1, soft - RESERVED - _OTHER_FILES)
    return wanted


class Watch:
    """Looks over the connections of a server, as long as there are any."""

    def __init__(self, patience: dict[Stage, float]) -> None:
        self._patience = patience
        self._pause = min(patience.values()) / _LOOKS
        self._open: set[GuardedProtocol] = set()
        self._since: dict[GuardedProtocol, tuple[Stage, object, float]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, connection: "GuardedProtocol") -> None:
        self._open.add(connection)
        if self._timer is None:
            self._timer = connection.loop.call_later(self._pause, self._look, connection.loop)

    def discard(self, connection: "GuardedProtocol") -> None:
        self._open.discard(connection)
        self._since.pop(connection, None)
        if not self._open and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now, slow = time.monotonic(), []
        for connection in self._open:
            stage, what = connection.place()
            before = self._since.get(connection)
            if before is None or before[0] is not stage or before[1] is not what:
                self._since[connection] = stage, what, now
            elif now - before[2] > self._patience.get(stage, now):
                slow.append((connection, stage))
        self._timer = loop.call_later(self._pause, self._look, loop)
        for connection, stage in slow:
            connection.cut(stage)


class GuardedProtocol(DirectProtocol):
    """A connection within bounds. `guarded` makes the class that a server is given."""

    bounds: ClassVar[Bounds]
    watch: ClassVar[Watch]
    backpressure: ClassVar[Backpressure | None] = None
    _crowded = False
    _closing = False
    _parting = False
    _head: object = None
    _head_bytes = 0
    _read = 0

    @staticmethod
    def turned_away(target: bytes) -> bytes | None:
        """The whole answer to a request that shall not be read: as `guarded` was told."""

    @staticmethod
    def counted(reason: str) -> None:
        """Hears why a connection is closed that did nothing that the routes could count."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.watch.add(self)
        over = len(self.connections) - self.bounds.connections
        if over > 0:
            self._crowded = True
            if over > RESERVED:
                self.counted(TooManyConnections.name)
                transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.watch.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """In the place of uvicorn's: no timer to stop, errors as problems, heads that are counted."""
        if self._closing:
            return
        self._read = len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return  # answered as if no other protocol had been asked for
        except httptools.HttpParserError:
            self.refuse(MalformedRequest("this is no HTTP/1.1 request"))
            return
        if self.scope is not None and "method" not in self.scope:  # its head is not whole yet
            self._count_head(len(data))

    def on_headers_complete(self) -> None:
        if self._crowded and not self.url.startswith(_ALWAYS):
            self._refused(_too_many(self.bounds.connections))
        elif (answer := self.turned_away(self.url)) and self._may_be_answered_unread():
            self.scope["method"] = "POST"  # as what comes now is no head any more
            self.transport.write(answer)
            if self.backpressure is not None:
                self.backpressure.refused(self, size_of_body(self.headers))
        elif len(self.headers) > self.bounds.headers:
            self._refused(HeadersTooLarge(f"more than {self.bounds.headers} headers were sent"))
        elif self._may_be_too_large() and self._size_of_head() > self.bounds.header_bytes:
            self._refused(self._too_large())
        else:
            super().on_headers_complete()
            if self._parting:
                self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """In two steps where nothing is asked just now, so that nobody's next request is cut off unread."""
        if self._parting or (self.cycle is not None and not self.cycle.response_complete):
            super().shutdown()
        else:
            self._parting = True
            self.flow.resume_reading()  # where it is held back
            self.loop.call_later(_PARTING, self.shutdown)

    def _may_be_answered_unread(self) -> bool:
        """Whether its answer may go at once, and uvicorn drop its body: it was answered here before."""
        answered = self.cycle is not None and self.cycle.response_complete and not self._parting
        return answered and not self.expect_100_continue and self.parser.should_keep_alive()

    def on_response_complete(self) -> None:
        """In the place of uvicorn's: the watch closes what is idle, so there is no timer to start."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    def place(self) -> tuple[Stage, object]:
        """The stage, and which request it is about."""
        cycle = self.cycle
        if self.transport.get_write_buffer_size():
            return Stage.READING, cycle
        if cycle is not None and not cycle.response_complete:
            waits = cycle.more_body and not self.pipeline
            return Stage.SENDING if waits else Stage.ANSWERED, cycle
        if self.scope is not None and "method" not in self.scope:
            return Stage.SENDING, self.scope
        return Stage.IDLE, cycle

    def cut(self, stage: Stage) -> None:
        """Hang up on a client that took too long."""
        if stage is Stage.SENDING:
            self.refuse(RequestTimeout(f"the request was not whole in {self.bounds.patience[stage]:g} s"))
        elif stage is Stage.READING:
            self.counted("slow-reader")
            self.transport.abort()  # its buffer would never be empty
        else:
            self.transport.close()

    def refuse(self, error: ServiceError) -> None:
        """Answer what did not become a request, and hang up. What came whole before is answered first."""
        self._closing = True
        self.counted(error.name)
        cycle = self.cycle
        if cycle is None or cycle.response_complete or (cycle.more_body and not self.pipeline):
            if cycle is None or not cycle.response_started or cycle.response_complete:
                self.transport.write(raw_response(error, (b"connection", b"close")))
            self.transport.close()
            return
        cycle.keep_alive = False
        if cycle.more_body:  # it waits behind others, and will never be whole
            self.pipeline[0] = cycle, _refusal(error)

    def _refused(self, error: ServiceError) -> None:
        """The request whose head has just come is answered in its turn, by an error."""
        self.counted(error.name)
        app, self.app = self.app, _refusal(error)
        self.start_asgi()
        self.app = app
        self.cycle.keep_alive = False

    def _count_head(self, came: int) -> None:
        if self._head is self.scope:
            self._head_bytes += came
        else:  # begun within this read, behind another request perhaps
            self._head, self._head_bytes = self.scope, 0
        if self._head_bytes > self.bounds.header_bytes:
            self.refuse(self._too_large())

    def _may_be_too_large(self) -> bool:
        return self._read > self.bounds.header_bytes or self._head is self.scope

    def _size_of_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _too_large(self) -> HeadersTooLarge:
        return HeadersTooLarge(f"the head of the request is larger than {self.bounds.header_bytes} bytes")


def guarded(
    settings: Settings,
    turned_away: Callable[[bytes], bytes | None] = lambda _: None,
    host: Host | None = None,
    backpressure: Backpressure | None = None,
    counted: Callable[[str], None] = lambda _: None,
) -> type[GuardedProtocol]:
    """The protocol of one server, with its bounds and its watch.

    `turned_away` has the whole answer to a request that shall not even be read, by its target; `host`
    answers those of its path without ASGI; `backpressure` holds back who was turned away; `counted` hears
    why a connection was refused.
    """
    bounds = Bounds.of(settings)
    members: dict[str, Any] = {
        "bounds": bounds,
        "watch": Watch(bounds.patience),
        "turned_away": staticmethod(turned_away),
        "host": host,
        "backpressure": backpressure,
        "counted": staticmethod(counted),
    }
    return type("BoundedProtocol", (GuardedProtocol,), members)


def _refusal(error: ServiceError) -> Any:  # noqa: ANN401 - uvicorn's types and Starlette's differ
    """An ASGI application that answers one error, whatever is sent."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        status, headers, body = problem_response(error)
        headers += [(b"content-length", b"%d" % len(body)), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def _too_many(most: int) -> ServiceError:
    detail = f"more than {most} connections are open: use open ones again, and send again in 1 s"
    return TooManyConnections(detail, headers={"Retry-After": "1"})

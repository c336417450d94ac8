"""The HTTP connection: uvicorn's on httptools, within bounds, with a fast path for the hot route.

Errors are problems, heads and trailers are counted, an offer of another protocol is declined. What it is made
of: `fast_path` (no ASGI for /score), `single_write` (an answer in one write), `watch` (slow clients, and whom
to hang up on), `backpressure` (who was refused is read again when there is a use for it), `target` (the path
and query of the scope), `trailers` (fields behind a body), `refusals` (the errors in words).
"""

import asyncio
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from nearnorm.service.errors import (
    MalformedRequest,
    MethodNotAllowed,
    RequestTimeout,
    ServiceError,
    TooManyConnections,
    raw_response,
)
from nearnorm.service.http.body import size_of_body, size_of_plain_json
from nearnorm.service.http.connection.backpressure import Backpressure
from nearnorm.service.http.connection.bounds import Bounds
from nearnorm.service.http.connection.fast_path import FastCycle, Host
from nearnorm.service.http.connection.in_turn import MOST_AHEAD, InTurn
from nearnorm.service.http.connection.refusals import (
    head_too_large,
    refusal,
    too_many_connections,
    too_many_headers,
    trailers_too_large,
)
from nearnorm.service.http.connection.shared import Shared
from nearnorm.service.http.connection.single_write import SingleWriteCycle
from nearnorm.service.http.connection.target import scope_of_target
from nearnorm.service.http.connection.trailers import Trailers
from nearnorm.service.http.connection.upgrade import head_without_offer
from nearnorm.service.http.connection.watch import Place, Stage, Watch

GATHERED = 1 << 20
"""Bytes of a body that are waited for before the application sees any of them."""
PLAIN = 1 << 18
"""Bytes of a body that goes the fast path: a larger one saves nothing there, and keeps others waiting."""
_ALWAYS = (b"/healthz", b"/readyz")
_PARTING = 0.1  # seconds that a stopping service listens on: a request may be on its way already


class _Reading(Enum):
    """Which part of a request is due."""

    NOTHING = "nothing"
    HEAD = "head"
    BODY = "body"


_NOTHING, _HEAD, _BODY = _Reading


class HttpProtocol(HttpToolsProtocol):
    transport: asyncio.Transport
    cycle: Any  # uvicorn's, or a FastCycle
    scope: Any

    def __init__(
        self,
        shared: Shared,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._shared = shared
        self._host = shared.host
        self._reading = _NOTHING
        self._requests = 0
        self._read = 0  # bytes in the packet that is parsed now
        self._unended = 0  # bytes of a head, or of trailers, that came in packets before
        self._trailers: Trailers | None = None
        self._body_came = False
        self._crowded = self._closing = self._parting = False

    # --- from the transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = InTurn(transport, self.pipeline)
        shared, bounds = self._shared, self._shared.bounds
        shared.watch.add(self)
        over = len(self.connections) - bounds.connections
        if over > 0 and not shared.watch.makes_room(self):
            self._crowded = True
            if over > bounds.reserved:
                shared.count_closed(TooManyConnections.name)
                transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._shared.watch.discard(self)
        cycle = self.cycle
        if cycle.__class__ is FastCycle and cycle.visit is not None:
            cycle.visit.gone()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        self._read = len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline(memoryview(data)[offer.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse_unread(error)
        if self._reading is not _NOTHING:
            self._count_unended()

    def shutdown(self) -> None:
        """In two steps where nothing is asked just now, so that nobody's next request is cut off unread."""
        if self._parting or (self.cycle is not None and not self.cycle.response_complete):
            super().shutdown()
        else:
            self._parting = True
            self.flow.resume_reading()  # where it is held back
            self.loop.call_later(_PARTING, self.shutdown)

    # --- from the parser

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= MOST_AHEAD:
            raise MalformedRequest(f"more than {MOST_AHEAD} requests were sent ahead of their answers")
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._reading = _HEAD
        self._requests += 1
        self._unended = -self._read  # this packet's bytes count when it is over

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reading is not _HEAD:
            self._trailers = self._trailers or Trailers(self._shared.bounds)
            self._trailers.drop(name, value)
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # its offer is declined first
        host, bounds = self._host, self._shared.bounds
        if self._crowded and not self.url.startswith(_ALWAYS):
            self._answer(too_many_connections(bounds))
        elif host is not None and host.is_full and self._may_be_refused_unread(host):
            self.transport.write(host.refuse_unread())
            if self._shared.backpressure is not None:
                self._shared.backpressure.refused(self, size_of_body(self.headers))
        elif len(self.headers) > bounds.headers:
            self._answer(too_many_headers(bounds))
        elif self._may_be_too_large() and self._size_of_head() > bounds.header_bytes:
            self._answer(head_too_large(bounds))
        elif host is None or self._shared.asgi_alone or (size := self._size_of_plain(host)) is None:
            self._start_asgi(self.app)
            if self._parting:
                self.cycle.keep_alive = False
        else:
            keeps = not self._parting and self._keeps_alive()
            self.cycle = cycle = FastCycle(self, keeps)
            visit = host.visit(self.headers, size, cycle.reply)
            if not cycle.response_complete:
                cycle.visit = visit
        self._reading = _BODY

    def on_body(self, body: bytes) -> None:
        self._body_came = True
        cycle = self.cycle
        if cycle.response_complete:
            return
        if cycle.__class__ is FastCycle:
            cycle.chunks.append(body)
        elif len(cycle.body) + len(body) > GATHERED:
            super().on_body(body)
        else:
            cycle.body += body

    def on_message_complete(self) -> None:
        if self._reading is _HEAD:  # it offers another protocol, and is read again without its offer
            return
        self._reading = _NOTHING
        cycle = self.cycle
        if cycle.__class__ is FastCycle:
            if cycle.visit is not None:
                cycle.more_body = False
                chunks, cycle.chunks = cycle.chunks, []  # no body is held while its rows wait
                body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
                full = cycle.visit.read(body)
                if full is not None and self._shared.backpressure is not None:
                    self._shared.backpressure.refused(self, len(body), full)
        elif not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()

    # --- from a request's answer

    def on_response_complete(self) -> None:
        """In the place of uvicorn's: the watch closes what is idle, so there is no timer to start."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.pipeline:
            self._run(*self.pipeline.pop())
        self.flow.resume_reading()

    # --- from the watch

    def place(self) -> Place:
        cycle, stage = self.cycle, Stage.IDLE
        if self.transport.get_write_buffer_size():
            stage = Stage.READING
        elif cycle is not None and not cycle.response_complete:
            stage = Stage.BODY if cycle.more_body and not self.pipeline else Stage.ANSWERED
        elif self._reading is not _NOTHING:
            stage = Stage.HEAD if self._reading is _HEAD else Stage.BODY
        elif cycle is None:
            stage = Stage.SILENT
        return stage, self._requests

    def cut(self, stage: Stage) -> None:
        """Hang up on a client that took too long."""
        if stage in (Stage.HEAD, Stage.BODY):
            seconds = self._shared.bounds.patience[stage]
            self.refuse(RequestTimeout(f"the request was not whole in {seconds:g} s"))
        elif stage is Stage.READING:
            self._shared.count_closed("slow-reader")
            self.transport.abort()  # its buffer would never be empty
        else:
            self.transport.close()

    def make_room(self) -> None:
        if self.place()[0] in (Stage.SILENT, Stage.HEAD, Stage.BODY):
            self.refuse(too_many_connections(self._shared.bounds))
        else:
            self._shared.count_closed(TooManyConnections.name)
            self.transport.abort()

    # --- requests

    def refuse(self, error: ServiceError) -> None:
        """Answer what did not become a request, and hang up. What came whole before is answered first."""
        self._closing = True
        self._shared.count_closed(error.name)
        cycle = self.cycle
        if cycle is None or cycle.response_complete or (cycle.more_body and not self.pipeline):
            answered = cycle is not None and cycle.response_complete and self._reading is _BODY
            if not answered and (cycle is None or not cycle.response_started or cycle.response_complete):
                self.transport.write(raw_response(error, (b"connection", b"close")))
            self.transport.close()
            return
        cycle.keep_alive = False
        if cycle.more_body:  # it waits behind others, and will never be whole
            self.pipeline[0] = cycle, refusal(error)

    def _refuse_unread(self, error: httptools.HttpParserError) -> None:
        """What is no HTTP, or what a callback of ours has refused."""
        ours = error.__context__
        self.refuse(
            ours if isinstance(ours, ServiceError) else MalformedRequest("this is no HTTP/1.1 request")
        )

    def _decline(self, rest: memoryview) -> None:
        """A head that offers another protocol is read again without its offer, then its body."""
        try:
            while True:
                if self.parser.get_method() == b"CONNECT":
                    allowed = {"Allow": "GET, HEAD, POST, PUT, DELETE"}
                    self.refuse(MethodNotAllowed("this is no proxy", headers=allowed))
                    return
                head = head_without_offer(self.parser, self.url, self.headers)
                self._read = max(self._read, len(head))
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
                self.parser.feed_data(head)
                try:
                    self.parser.feed_data(rest)
                    return
                except httptools.HttpParserUpgrade as offer:
                    rest = rest[offer.args[0] :]
        except httptools.HttpParserError as error:
            self._refuse_unread(error)

    def _start_asgi(self, app: Any) -> None:  # noqa: ANN401 - uvicorn's types and Starlette's differ
        """The way of every request that is not the hot route's, in its turn."""
        self.scope = {
            "type": "http",
            "asgi": {"version": self.config.asgi_version, "spec_version": "2.3"},
            "http_version": self.parser.get_http_version(),
            "method": self.parser.get_method().decode("ascii"),
            "scheme": self.scheme,
            "server": self.server,
            "client": self.client,
            "root_path": self.root_path,
            "headers": self.headers,
            "state": self.app_state.copy(),
            **scope_of_target(self.url, self.headers, self.root_path),
        }
        before, self._trailers = self.cycle, None
        self.cycle = SingleWriteCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=self._keeps_alive(),
            on_response=self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._run(self.cycle, app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, app))

    def _run(self, cycle: Any, app: Any) -> None:  # noqa: ANN401
        task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def _answer(self, error: ServiceError) -> None:
        """The request whose head has just come is answered in its turn, by an error."""
        self._shared.count_closed(error.name)
        self._start_asgi(refusal(error))
        self.cycle.keep_alive = False

    def _keeps_alive(self) -> bool:
        return self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()

    def _size_of_plain(self, host: Host) -> int | None:
        """Bytes of the body of a request that needs no ASGI; None where it does."""
        cycle = self.cycle
        if self.url != host.path or self.parser.get_method() != b"POST":
            return None
        if cycle is not None and not cycle.response_complete:
            return None  # it waits for its turn
        if self.flow.write_paused or self.transport.is_closing():
            return None
        size = size_of_plain_json(self.headers)
        return None if size is None or size > PLAIN else size

    def _may_be_refused_unread(self, host: Host) -> bool:
        """Whether its answer may go at once, and its body be dropped: it was answered here before."""
        answered = self.cycle is not None and self.cycle.response_complete and not self._parting
        if not answered or self.expect_100_continue or not self.parser.should_keep_alive():
            return False
        return self.url.partition(b"?")[0] == host.path and not host.lets_in(self.headers)

    # --- heads

    def _count_unended(self) -> None:
        """A head or trailers without end are refused before they fill the memory."""
        if self._reading is _BODY and self._body_came:
            self._body_came, self._unended = False, 0
            return
        bounds = self._shared.bounds
        self._unended += self._read
        if self._unended > bounds.header_bytes and not self._closing:
            self.refuse(head_too_large(bounds) if self._reading is _HEAD else trailers_too_large(bounds))

    def _may_be_too_large(self) -> bool:
        return self._unended >= 0 or self._read > self._shared.bounds.header_bytes

    def _size_of_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)


def fast_http(
    bounds: Bounds,
    host: Host | None = None,
    asgi_alone: bool = False,
    backpressure: Backpressure | None = None,
    count_closed: Callable[[str], None] = lambda _: None,
) -> Any:  # noqa: ANN401 - uvicorn asks for a class and only calls it
    """The protocol of one server, for uvicorn: see `Shared`."""
    watch = Watch(bounds.patience)
    return partial(HttpProtocol, Shared(bounds, watch, host, asgi_alone, backpressure, count_closed))

"""The way to the bulk process: requests wait their turn, caller by caller, and the process is kept alive.

It is started with the first request that needs it, and again when it dies, hangs or cannot be understood:
the request that it was at is answered with an error, and the next one is none the wiser.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct
from numpy.typing import NDArray

from nearnorm.service import errors
from nearnorm.service.background import Background
from nearnorm.service.errors import InternalError, ServiceError
from nearnorm.service.logs import log
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.scoring.bulk.messages import (
    Arrays,
    Job,
    Mistaken,
    ReadBody,
    Refused,
    Reply,
    Schema,
    receive_reply,
    send,
)
from nearnorm.service.serving.batcher import overloaded

MOST_REQUESTS = 8
"""Requests on their way at once, while more than one caller has any; a newcomer gets his share of them."""
PATIENCE = 60.0
"""Seconds that a job may take; it has a fraction of a CPU where the machine is busy."""
TASK = "reading large bodies"
_GRACE = 2.0

_NONE: Mapping[str, Encoder] = {}

Replied = tuple[Reply, list[NDArray[Any]]]


class _Lost(Exception):
    """The process died, hung or could not be started."""


class _Waiting(Struct, eq=False):
    """A job until it is done; `encoders` has those of the models that a body may name, by version."""

    job: Job
    arrays: Arrays
    encoders: Mapping[str, Encoder]
    answer: "asyncio.Future[Replied]"


class _Process:
    """One bulk process, as the lane's thread sees it."""

    def __init__(self) -> None:
        """Returns when it is there. Raises _Lost."""
        self._known: set[str] = set()  # versions whose schemas it has
        self._socket, other = socket.socketpair()
        self._socket.settimeout(PATIENCE)
        try:
            with other:
                self._process = subprocess.Popen(  # noqa: S603 - our own module
                    [
                        sys.executable,
                        "-P",
                        "-m",
                        "nearnorm.service.scoring.bulk.process",
                        str(other.fileno()),
                    ],
                    env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
                    stdin=subprocess.DEVNULL,
                    pass_fds=[other.fileno()],
                )
        except OSError as error:  # no memory or no process to be had now
            self._socket.close()
            raise _Lost(f"the bulk process cannot be started: {error}") from None
        self.pid = self._process.pid
        self._heard()

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def do(self, waiting: _Waiting) -> Replied:
        """Raises _Lost; the process is no more then."""
        job = waiting.job
        if isinstance(job, ReadBody):
            job.schemas = {
                version: Schema(encoder.schema.model_dump_json(), encoder.max_rows)
                for version, encoder in waiting.encoders.items()
                if version not in self._known
            }
        try:
            send(self._socket, job, waiting.arrays)
        except OSError as error:
            raise self._lost(error) from None
        replied = self._heard()
        if isinstance(job, ReadBody) and not isinstance(replied[0], Mistaken):
            self._known = set(waiting.encoders)
        return replied

    def end(self) -> int:
        """Its exit code; it ends by itself once nobody can send to it."""
        self._socket.close()
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(_GRACE)
        self._process.kill()
        return self._process.wait()

    def _heard(self) -> Replied:
        try:
            return receive_reply(self._socket)
        except (OSError, EOFError, msgspec.MsgspecError) as error:
            raise self._lost(error) from None

    def _lost(self, error: Exception) -> _Lost:
        what = "took too long" if isinstance(error, TimeoutError) else "ended"
        return _Lost(f"the bulk process {what} and is started again (exit code {self.end()})")


class BulkLane:
    """All but the conversation itself happens in the event loop."""

    def __init__(self, background: Background) -> None:
        self._background = background
        self._executor = ThreadPoolExecutor(1, "bulk")
        self._process: _Process | None = None
        self._turns: dict[str, deque[_Waiting]] = {}  # whose turn is next comes first
        self._held: Counter[str] = Counter()
        self._busy = False

    @property
    def pid(self) -> int | None:
        """Of the process, where there was need of one."""
        process = self._process
        return process.pid if process is not None else None

    @contextmanager
    def place(self, caller: str) -> Iterator[None]:
        """A request's, from before it is read until it is written. Raises Overloaded where there is none."""
        if self._held.total() >= MOST_REQUESTS:
            self._make_room(caller)
        self._held[caller] += 1
        try:
            yield
        finally:
            self._held[caller] -= 1
            if not self._held[caller]:
                del self._held[caller]

    async def ask(
        self, caller: str, job: Job, arrays: Arrays, encoders: Mapping[str, Encoder] = _NONE
    ) -> Replied:
        """Have a job done, in its caller's turn. Raises ServiceError: the caller's mistake, or ours."""
        waiting = _Waiting(job, arrays, encoders, asyncio.get_running_loop().create_future())
        own = self._turns.setdefault(caller, deque())
        if isinstance(job, ReadBody):
            own.append(waiting)
        else:  # what was begun is ended first
            own.appendleft(waiting)
        if not self._busy:
            self._next()
        reply, found = await waiting.answer
        if isinstance(reply, Refused):
            kind: type[ServiceError] = getattr(errors, reply.kind)
            raise kind(reply.detail, field=reply.field, errors=reply.errors, headers=reply.headers)
        if isinstance(reply, Mistaken):
            raise InternalError("see the service's log") from RuntimeError(reply.traceback)
        return reply, found

    async def close(self) -> None:
        await asyncio.to_thread(self._executor.shutdown)
        if self._process is not None:
            await asyncio.to_thread(self._process.end)

    def _make_room(self, caller: str) -> None:
        """Let a caller with less than an even part of the places go before one with more.

        That one's newest request that still waits is refused for it.
        """
        share = max(1, MOST_REQUESTS // len({caller, *self._held}))
        if self._held[caller] >= share or self._held.total() >= 2 * MOST_REQUESTS:
            raise overloaded()
        largest = max(self._turns, key=lambda name: self._held[name], default=caller)
        own = self._turns.get(largest)
        if own and self._held[largest] > share and isinstance(own[-1].job, ReadBody):
            refused = own.pop().answer
            if not refused.done():
                refused.set_exception(overloaded())

    def _next(self) -> None:
        """The next job that somebody waits for, of the caller whose turn it is."""
        while self._turns:
            caller = next(iter(self._turns))
            own = self._turns.pop(caller)
            waiting = own.popleft() if own else None
            if own:
                self._turns[caller] = own
            if waiting is not None and not waiting.answer.done():
                self._busy = True
                loop = asyncio.get_running_loop()
                running = loop.run_in_executor(self._executor, self._converse, waiting)
                running.add_done_callback(partial(self._came_back, waiting))
                return
        self._busy = False

    def _converse(self, waiting: _Waiting) -> Replied:
        if self._process is None or not self._process.lives:
            if self._process is not None:
                log.error("the bulk process ended and is started again", code=self._process.end())
            self._process = None
            self._process = _Process()
        try:
            return self._process.do(waiting)
        except _Lost:
            self._process = None
            raise

    def _came_back(self, waiting: _Waiting, done: "asyncio.Future[Replied]") -> None:
        error = done.exception()
        if error is None:
            self._background.works(TASK)
        elif isinstance(error, Exception):
            self._background.failed(TASK, error)
        if not waiting.answer.done():
            if error is None:
                waiting.answer.set_result(done.result())
            else:
                failure = InternalError(
                    "the process that reads large bodies ended: send fewer rows a request"
                )
                failure.__cause__ = error
                waiting.answer.set_exception(failure)
        self._next()

"""Who was refused is read again when there is a use for it.

A refusal costs a tenth of a score, so those who send again at once could keep the service busy with nothing
else. Refusals get a share of its time, then. Beyond it a connection that was refused is not read for a while:
until a batch has room, or there is time for one more refusal, at the latest until the second is over that its
Retry-After asked for. What is sent meanwhile waits in the kernel, then with the client.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct
from uvicorn.protocols.http.flow_control import FlowControl

from nearnorm.service.token_bucket import TokenBucket

SHARE = 0.05
"""Of the CPU time that the process takes. A second's worth of it may be spent at once."""
HELD_SECONDS = 1.0
_PAUSE = 0.01  # seconds between two looks at those held
_MOST = 256  # let in at one look: one first, then twice as many each time, as long as there is room
_MOST_TO_REFUSE = 4  # let in at one look without room: what they send comes in one turn of the loop
_REFUSAL, _BYTE = 40.0, 0.0004  # microseconds, as measured: to answer unread, and to drop a byte of the body


class Connection(Protocol):
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    flow: FlowControl


class _Held(Struct, frozen=True):
    """`line`: whose queue was full; None: everybody's."""

    connection: Connection
    until: float
    cost: float
    line: str | None


class Backpressure:
    """`capacity` tells how many requests would not be refused now by a line, or (None) by any."""

    def __init__(self, capacity: Callable[[str | None], int]) -> None:
        self._capacity = capacity
        self._time = TokenBucket(1e6 * SHARE, time.process_time())
        self._held: deque[_Held] = deque()
        self._let_in = 1

    def refused(self, connection: Connection, size: int, line: str | None = None) -> None:
        """A request was answered, and nothing of its body of `size` bytes was read."""
        cost, left = _REFUSAL + _BYTE * size, self._time.left(time.process_time())
        most = left + 1e6 * SHARE  # a size may be a lie: nobody makes more debt than a second's worth
        self._time.owe(min(cost, most))
        if left >= cost or connection.flow.read_paused:
            return
        connection.flow.pause_reading()
        if not self._held:
            connection.loop.call_later(_PAUSE, self._look, connection.loop)
        self._held.append(_Held(connection, time.monotonic() + HELD_SECONDS, cost, line))

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let in whom there is room for, whom there is time to refuse, and who has waited long enough."""
        now, left = time.monotonic(), self._time.left(time.process_time())
        lines = {one.line for one in self._held}
        room = {line: min(self._capacity(line), self._let_in) for line in lines}
        self._let_in = min(2 * self._let_in, _MOST) if any(room.values()) else 1
        waiting: deque[_Held] = deque()
        to_refuse = _MOST_TO_REFUSE
        for one in self._held:
            if room[one.line] > 0:
                room[one.line] -= 1
            elif left > 0 and to_refuse:
                left -= one.cost
                to_refuse -= 1
            elif one.until > now:
                waiting.append(one)
                continue
            if not one.connection.transport.is_closing():
                one.connection.flow.resume_reading()
        self._held = waiting
        if waiting:
            loop.call_later(_PAUSE, self._look, loop)

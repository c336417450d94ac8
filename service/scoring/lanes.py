"""Lanes: once several lines are asked, their requests take turns in the event loop, a slice of time at once.

To read a request and to write its answer takes the loop longer than to score it. One line's flood, read as
it comes, would let another's request wait for all of it: for what was read before, for its batch and its
answers. So a turn of the loop reads one request of every line, and of who has more only as much as a slice
holds: what is not read is neither scored nor answered in the next turn. Where only one line is asked there
are no lanes.
"""

import asyncio
import re
import time
from collections.abc import Callable

from msgspec import Struct

from nearnorm.service.serving.turns import Turns

SLICE = 0.0002
"""Seconds of reading in a turn of the loop, beside a request of each line."""
LASTING = 60.0
"""Seconds that lanes are kept after the last change from one line to another."""
ENDS = 200
"""Bytes at both ends of a body in which a model's name is looked for before it is read: to look through 14 kB
takes 25 microseconds, and who names one does so before or behind the rows."""
_MODEL = re.compile(rb'"model"\s*:\s*"([A-Za-z0-9._-]{1,80})"')


class _Waiting(Struct, frozen=True):
    """`caller` is the line: whose turn it is goes by that here."""

    caller: str
    go: Callable[[], None]


class Lanes:
    """For one event loop."""

    def __init__(self) -> None:
        self.shared = False
        """Whether several lines are asked these days: then `put` what is to be read."""
        self._line: str | None = None
        self._changed = 0.0
        self._waiting: Turns[_Waiting] = Turns()
        self._awake = False
        self._served: set[str] = set()  # lines that had a request read in this turn of the loop

    def asked(self, line: str) -> None:
        """A request of a line is served."""
        if line != self._line:
            self.shared = self._line is not None
            self._line, self._changed = line, time.monotonic()

    def put(self, line: str, go: Callable[[], None]) -> None:
        """Call `go` in the line's turn: at once, if it is its first request in this turn of the loop."""
        if not self._awake:
            self._awake = True
            asyncio.get_running_loop().call_soon(self._take)
            self._served.clear()
            self.shared = time.monotonic() - self._changed < LASTING
        if line in self._served or self._waiting.newest(line):
            self._waiting.append(_Waiting(line, go))
        else:
            self._served.add(line)
            go()

    async def turn(self, line: str) -> None:
        """Until it is the line's turn, for those who await."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.put(line, lambda: None if turn.done() else turn.set_result(None))
        await turn

    def _take(self) -> None:
        self._served.clear()
        until = time.perf_counter() + SLICE
        while self._waiting:
            waiting = self._waiting.popleft()
            self._served.add(waiting.caller)
            waiting.go()
            if time.perf_counter() >= until:
                break
        self._awake = bool(self._waiting)
        if self._awake:
            asyncio.get_running_loop().call_soon(self._take)


def line_in(body: bytes) -> str | None:
    """The line that a body of JSON seems to name, before it is read: enough to know whose turn it takes."""
    named = _MODEL.search(body[:ENDS]) or _MODEL.search(body[-ENDS:])
    return named[1].decode() if named else None

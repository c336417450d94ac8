"""Lanes: once several lines are asked, their requests take turns in the event loop, a little work at once.

To read a request and to write its answer takes the loop longer than to score it. One line's flood, read as
it comes, would let another's request wait for all of it: for what was read before, for its batch and its
answers. So a turn of the loop reads one short request of every line, and of who has more only as much as a
slice holds: what is not read is neither scored nor answered in the next turn. What takes longer than a slice
by itself (to read many rows, to judge them, to write their answer) is a step: a turn has one of them, and
what was read just before is scored first.
Where only one line is asked there are no lanes.
"""

import asyncio
import time
from collections.abc import Callable

from msgspec import Struct

from nearnorm.service.serving.turns import Turns

SLICE = 0.00005
"""Seconds of work in a turn of the loop, beside a short request of each line."""
LASTING = 60.0
"""Seconds that lanes are kept after the last change from one line to another."""
GRACE, MOST_GRACE = 2, 8
"""Turns of the loop in which a short request that was read is scored, and how many a step waits for such."""


class _Waiting(Struct, frozen=True):
    """`caller` is the line: whose turn it is goes by that here."""

    caller: str
    go: Callable[[], None]
    long: bool


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
        self._read = False  # whether a short one was since the last turn
        self._grace = self._given = 0

    def asked(self, line: str) -> None:
        """A request of a line is served."""
        if line != self._line:
            self.shared = self._line is not None
            self._line, self._changed = line, time.monotonic()

    def put(self, line: str, go: Callable[[], None], long: bool = False) -> None:
        """Call `go` in the line's turn: at once, if it is the first in this turn of the loop, and not `long`.

        Of `long` ones a turn has one."""
        if not self._awake:
            self._awake = True
            asyncio.get_running_loop().call_soon(self._take)
            self._served.clear()
            self.shared = time.monotonic() - self._changed < LASTING
        if long or line in self._served or self._waiting.newest(line):
            self._waiting.append(_Waiting(line, go, long))
        else:
            self._read = True
            self._served.add(line)
            go()

    def step(self, line: str, go: Callable[[], None]) -> None:
        """Call `go`, which takes long, in the line's turn; at once where there are no lanes."""
        if self.shared:
            self.put(line, go, long=True)
        else:
            go()

    async def turn(self, line: str, long: bool = False) -> None:
        """Until it is the line's turn, for those who await."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.put(line, lambda: None if turn.done() else turn.set_result(None), long)
        await turn

    def _take(self) -> None:
        self._served.clear()
        if not self._gives_grace():
            until = time.perf_counter() + SLICE
            while self._waiting:
                waiting = self._waiting.popleft()
                self._served.add(waiting.caller)
                waiting.go()
                if waiting.long or time.perf_counter() >= until:
                    break
        self._awake = bool(self._waiting)
        if self._awake:
            asyncio.get_running_loop().call_soon(self._take)

    def _gives_grace(self) -> bool:
        """Whether the step whose turn it is waits for short requests that were read just before."""
        if self._read:
            self._read, self._grace = False, GRACE
        if self._grace and self._given < MOST_GRACE and self._waiting and self._waiting.first.long:
            self._grace -= 1
            self._given += 1
            return True
        self._given = 0
        return False

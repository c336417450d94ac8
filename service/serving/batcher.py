"""Micro-batches without a timer: whoever is ready to run takes what is waiting.

An idle batcher runs whatever the event loop delivered in one turn; under load requests gather while a
batch runs. Rows are counted, not requests. A request larger than a batch is served in parts, each
behind those who came meanwhile, so that neither large nor small requests starve. Callers take turns, and
where the queue is full, one with less than an even part of it goes before one with more.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, Generic, Protocol, Self, TypeVar

from msgspec import Struct

from nearnorm.service.errors import DeadlineExceeded, InternalError, Overloaded
from nearnorm.service.serving.turns import Turns


class Divisible(Protocol):
    def __len__(self) -> int: ...

    def part(self, start: int, stop: int) -> Self: ...


Item = TypeVar("Item", bound=Divisible)
Ran = TypeVar("Ran")
Outcome = TypeVar("Outcome")


class Limits(Struct, frozen=True):
    """In rows, and seconds. Batches of up to `inline_rows` run in the event loop's own thread.

    A request that is larger than that runs in other threads, up to `batch_rows` of it at a time, and at
    most `off_loop` batches at once. For many small requests the way to another thread and back is dearer.
    """

    batch_rows: int
    inline_rows: int
    queue_rows: int
    deadline_seconds: float
    off_loop: int


class Entry(Generic[Item, Outcome]):
    """An item on its way. `on_done` is called once, with the outcomes of its parts or what went wrong."""

    __slots__ = ("caller", "item", "on_done", "outcomes", "over", "rows", "running", "since", "taken")

    def __init__(
        self, item: Item, on_done: Callable[[list[Outcome] | Exception], None], since: float, caller: str
    ) -> None:
        self.item = item
        self.caller = caller
        self.rows = len(item)
        self.on_done = on_done
        self.since = since
        self.taken = 0
        self.running = 0
        self.over = False
        self.outcomes: list[Any] = []

    def withdraw(self) -> None:
        """Nobody waits for it any more: what was not computed yet is not going to be."""
        self.over = True

    def end(self, outcome: list[Outcome] | Exception) -> None:
        if not self.over:
            self.over = True
            self.on_done(outcome)


_Part = tuple[Entry[Item, Outcome], int]
"""An entry, and which of its parts."""


Step = Callable[[], None]


def overloaded() -> Overloaded:
    return Overloaded("too many rows are waiting: try again", headers={"Retry-After": "1"})


def at_once(step: Step) -> None:
    """In no turn."""
    step()


class Batcher(Generic[Item, Ran, Outcome]):
    """`run` does a batch's work, `split` makes of it one outcome for each item; `observe` hears how long each
    of them waited. What a large batch makes of its answers are steps of the event loop, each `in_turn`.

    `run` is called in other threads too, and shall hold the interpreter as little as it can: two threads
    that want it take it from one another. `split` is called in the event loop only.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Ran],
        split: Callable[[Sequence[Item], Ran], Sequence[Outcome]],
        limits: Limits,
        executor: Executor,
        observe: Callable[[list[float]], None],
        in_turn: Callable[[Step], None] = at_once,
    ) -> None:
        self._run = run
        self._split = split
        self._limits = limits
        self._executor = executor
        self._observe = observe
        self._in_turn = in_turn
        self._queue: Turns[Entry[Item, Outcome]] = Turns()
        self._held: dict[str, int] = {}  # rows by caller, of those who have any
        self._awake = False
        self._alone = False
        self._off_loop = 0
        self._room = min(limits.batch_rows, limits.queue_rows // 2)
        self.overflown = False
        """Whether the queue was full: only then it is worth asking whether it still is `shut`."""
        self._loop = asyncio.get_running_loop()
        self.rows = 0
        """Rows accepted and not answered yet."""

    @property
    def limit(self) -> int:
        """Rows beyond which `submit` raises Overloaded."""
        return self._limits.queue_rows

    @property
    def is_full(self) -> bool:
        """Whether the queue was full, and has no room for a batch yet: a refusal that needs no decoding."""
        if self.overflown and self.rows <= self._limits.queue_rows - self._room:
            self.overflown = False
        return self.overflown

    @property
    def capacity(self) -> int:
        """How many more requests fit, as large as those that wait now; at least one unless it is `shut`."""
        if self.is_full:
            return 0
        free = self._limits.queue_rows - self.rows
        return max(1, free * max(1, len(self._queue)) // max(1, self.rows))

    def is_full_for(self, caller: str) -> bool:
        """Whether it is full, and this caller has nobody to go before."""
        return self.is_full and not self._goes_before_others(caller, 1)

    def put(
        self, item: Item, on_done: Callable[[list[Outcome] | Exception], None], caller: str = ""
    ) -> Entry[Item, Outcome]:
        """`on_done` gets the outcomes of the item's parts, in order.

        It gets DeadlineExceeded when the item waited too long, InternalError when its batch failed. It is
        called in the event loop, and must not raise. It gets Overloaded where the item had to go for one of a
        caller with less in the queue. Raises Overloaded when the queue is full.
        """
        entry = Entry(item, on_done, time.perf_counter(), caller)
        if self.rows + entry.rows > self._limits.queue_rows and not self._made_room(entry):
            self.overflown = True
            raise overloaded()
        self.rows += entry.rows
        self._held[caller] = self._held.get(caller, 0) + entry.rows
        # known before the next is decoded: of large requests, every other one was in vain
        self.overflown = self.rows + entry.rows > self._limits.queue_rows
        self._queue.append(entry)
        if not self._awake and self._off_loop < self._limits.off_loop:
            self._awake = True  # where the last request came alone, this one is not kept waiting for company
            self._loop.call_soon(self._next if self._alone else self._soon)
        return entry

    def submit(self, item: Item, caller: str = "") -> "asyncio.Future[list[Outcome]]":
        """`put` for those who await. Cancelling the future takes the item out of the queue."""
        future: asyncio.Future[list[Outcome]] = self._loop.create_future()

        def settle(outcome: list[Outcome] | Exception) -> None:
            if future.done():
                return
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        entry = self.put(item, settle, caller)
        future.add_done_callback(lambda done: entry.withdraw() if done.cancelled() else None)
        return future

    def _soon(self) -> None:
        """Not at once: what the loop reads in this turn and the next shall join the batch."""
        self._loop.call_soon(self._next)

    def _next(self) -> None:
        parts, items, rows = self._take()
        self._awake = bool(parts)
        if not parts:
            return
        self._alone = len(parts) == 1
        if rows <= self._limits.inline_rows:
            self._finish(parts, items, lambda: self._run(items))
        else:
            self._off_loop += 1
            running = self._loop.run_in_executor(self._executor, self._run, items)
            running.add_done_callback(lambda done: self._finished(parts, items, done))
            if self._off_loop == self._limits.off_loop:
                self._awake = False
                return
        self._loop.call_soon(self._soon)

    def _finished(
        self, parts: list[_Part[Item, Outcome]], items: list[Item], done: "asyncio.Future[Ran]"
    ) -> None:
        self._off_loop -= 1
        self._in_turn(lambda: self._finish(parts, items, done.result, self._in_turn))
        if not self._awake:
            self._next()

    def _finish(
        self,
        parts: list[_Part[Item, Outcome]],
        items: list[Item],
        ran: Callable[[], Ran],
        in_turn: Callable[[Step], None] = at_once,
    ) -> None:
        try:
            outcomes = self._split(items, ran())
        except Exception as error:
            self._fail(parts, error)
        else:
            in_turn(lambda: self._deliver(parts, outcomes))

    def _take(self) -> tuple[list[_Part[Item, Outcome]], list[Item], int]:
        """A batch: whose it is, their items or parts of them, and how many rows that is."""
        parts: list[_Part[Item, Outcome]] = []
        items: list[Item] = []
        waits: list[float] = []
        most = room = self._most()
        now = time.perf_counter()
        while room and self._queue:
            entry = self._queue.popleft()
            waited = now - entry.since
            if entry.over:  # its client is gone, or a part of it failed
                self._leave(entry)
                continue
            if waited > self._limits.deadline_seconds:
                entry.end(
                    DeadlineExceeded(
                        f"the request waited {waited:.1f} s: try again", headers={"Retry-After": "1"}
                    )
                )
                self._leave(entry)
                continue
            if items and room < entry.rows - entry.taken:
                self._queue.appendleft(entry)  # whole in the next batch is sooner than in two halves
                break
            if not entry.taken:
                waits.append(waited)
            start, entry.taken = entry.taken, min(entry.taken + room, entry.rows)
            size = entry.taken - start
            room -= size
            entry.running += 1
            parts.append((entry, len(entry.outcomes)))
            entry.outcomes.append(None)  # others may be there before it
            items.append(entry.item if size == entry.rows else entry.item.part(start, entry.taken))
            if entry.taken < entry.rows:
                self._queue.append(entry)
        if waits:
            self._observe(waits)
        return parts, items, most - room

    def _most(self) -> int:
        """Rows of the next batch, by whose turn it is."""
        limits, queue = self._limits, self._queue
        large = bool(queue) and queue.first.rows - queue.first.taken > limits.inline_rows
        return limits.batch_rows if large else limits.inline_rows

    def _goes_before_others(self, caller: str, rows: int) -> bool:
        """Whether a caller has less than an even part of the queue, with so many rows more."""
        others = len(self._held) - (caller in self._held)
        return others > 0 and self._held.get(caller, 0) + rows <= self._limits.queue_rows // (others + 1)

    def _made_room(self, entry: Entry[Item, Outcome]) -> bool:
        """Refuse the newest of those who have most, for one who has less than an even part.

        Where all of theirs is at work already, the queue holds more than it should for that while.
        """
        if not self._goes_before_others(entry.caller, entry.rows):
            return False
        most = self._limits.queue_rows
        while self.rows + entry.rows > most:
            largest = max(self._held, key=self._held.__getitem__)
            newest = self._queue.newest(largest)
            if newest is None or newest.taken:
                return self.rows + entry.rows <= 2 * most
            self._queue.remove_newest(largest)
            self._release(newest)
            newest.end(overloaded())
        return True

    def _release(self, entry: Entry[Item, Outcome]) -> None:
        """Its rows make room for others."""
        self.rows -= entry.rows
        left = self._held[entry.caller] - entry.rows
        if left:
            self._held[entry.caller] = left
        else:
            del self._held[entry.caller]

    def _deliver(self, parts: list[_Part[Item, Outcome]], outcomes: Sequence[Outcome]) -> None:
        for (entry, place), outcome in zip(parts, outcomes, strict=True):
            entry.outcomes[place] = outcome
            entry.running -= 1
            if entry.taken == entry.rows and not entry.running:
                self._release(entry)
                entry.end(entry.outcomes)

    def _fail(self, parts: list[_Part[Item, Outcome]], error: BaseException) -> None:
        for entry, _ in parts:
            failure = InternalError("the model failed on this batch: see the service's log")
            failure.__cause__ = error
            entry.end(failure)
            entry.running -= 1
            if entry.taken == entry.rows and not entry.running:
                self._release(entry)  # else it is in the queue, and leaves it when its turn comes

    def _leave(self, entry: Entry[Item, Outcome]) -> None:
        """The rest of it is not going to be computed; parts of it may be on their way."""
        entry.taken = entry.rows
        if not entry.running:
            self._release(entry)

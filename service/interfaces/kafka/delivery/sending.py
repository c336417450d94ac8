"""Answers on their way: while some go to the brokers others gather, and go together when those are there.

So the slower brokers and ledger are, the more answers share their one write and one commit, and nothing waits
where they are fast. Where more are about to come, as of messages that were taken together, they go with them:
a write of the ledger costs as much as the answers of two hundred records.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from nearnorm.service.interfaces.kafka.answers.answers import TopicAnswer

MOST_GATHERED = 3_000
"""Messages; who has more waits until they have gone."""
MOST_BYTES = 8 * 2**20
ENOUGH, ENOUGH_BYTES = 1_000, 2**20
"""Answers that go though more of those taken together are to come."""


class Sending:
    """`deliver` is called with one lot after the other, in their order."""

    def __init__(self, deliver: Callable[[Sequence[TopicAnswer]], Awaitable[None]]) -> None:
        self._deliver = deliver
        self._gathered: list[TopicAnswer] = []
        self._bytes = 0
        self._is_due = False
        self._task: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()

    def _is_full(self) -> bool:
        return len(self._gathered) >= MOST_GATHERED or self._bytes >= MOST_BYTES

    async def put(self, answers: Sequence[TopicAnswer], more: bool = False) -> None:
        """Take them over, as soon as there is room; `more` are about to come. Raises what went wrong with
        those before them."""
        while self._task is not None and self._is_full():
            self._moved.clear()
            await self._moved.wait()
            if self._task.done():
                break
        if self._task is not None and self._task.done():
            await self.all_sent()
        self._gathered += answers
        self._bytes += sum(len(answer.value or b"") for answer in answers)
        self._is_due = not more or len(self._gathered) >= ENOUGH or self._bytes >= ENOUGH_BYTES
        if self._task is None and self._gathered and self._is_due:
            self._task = asyncio.create_task(self._send())

    async def all_sent(self) -> None:
        """Wait for what is on its way. Raises what went wrong with it."""
        if self._task is not None:
            try:
                await self._task
            finally:
                self._task = None

    async def stop(self) -> None:
        """What is on its way is not waited for."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _send(self) -> None:
        try:
            while self._gathered and self._is_due:
                answers, self._gathered, self._bytes = self._gathered, [], 0
                self._moved.set()
                await self._deliver(answers)
        finally:
            self._moved.set()

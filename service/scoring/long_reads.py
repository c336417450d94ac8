"""Bodies that take long to read are read in a thread of their own, one after the other."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from nearnorm.service.records.shapes import Envelope
from nearnorm.service.serving.batcher import overloaded

INLINE_BYTES = 2**18
"""Largest body of JSON that is read in the event loop, where its rows are typed."""
INLINE_LOOSE_BYTES = 2**16
"""The same where they are not: that takes ten times as long."""
INLINE_ARROW_BYTES = 2**17
MOST_WAITING = 8
"""Bodies that wait for the thread, the one in work among them."""
Read = TypeVar("Read")


def takes_long(request: Envelope, size: int) -> bool:
    """Whether a decoded request of `size` bytes goes cell by cell, and has many of them."""
    return type(request) is Envelope and size > INLINE_LOOSE_BYTES


class LongReads:
    """The thread, which lets the event loop have the interpreter every few milliseconds."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "decode")
        self._waiting = 0

    def run(self, read: Callable[[], Read]) -> "asyncio.Future[Read]":
        """Raises Overloaded where too many wait."""
        if self._waiting == MOST_WAITING:
            raise overloaded()
        self._waiting += 1
        reading = asyncio.get_running_loop().run_in_executor(self._executor, read)
        reading.add_done_callback(self._came_back)
        return reading

    def _came_back(self, _: "asyncio.Future[Any]") -> None:
        self._waiting -= 1

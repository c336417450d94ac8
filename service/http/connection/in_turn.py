"""Requests sent ahead of their answers: while some wait behind the one at work, nothing more is read.

uvicorn reads on after every answer, so that thousands of small requests come for each that is answered, and
who reads no answers fills the memory.
"""

import asyncio
from collections.abc import Sized

from uvicorn.protocols.http.flow_control import FlowControl

MOST_AHEAD = 250
"""Requests of one connection that wait: a packet may hold many times as many, of 2.5 KB and 90 us each."""


class InTurn(FlowControl):
    """`waiting` are the requests that came whole and whose turn it is not."""

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        if not self._waiting:
            super().resume_reading()

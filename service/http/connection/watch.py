"""Slow clients: connections that keep the service waiting for too long, or while others want their place.

No request pays for it: one look over all connections, a few times in the shortest limit, finds those that
have stood in the same place for too long. Where the connections are all taken, the one that has kept the
service waiting longest makes room, unfinished heads first: who opens thousands in silence pushes out his own.
"""

import asyncio
import time
from collections import deque
from enum import Enum
from typing import Protocol


class Stage(Enum):
    """What a connection does now. In all but ANSWERED, the client is whom the service waits for."""

    SILENT = "silent"  # nothing was ever asked
    HEAD = "head"
    IDLE = "idle"
    BODY = "body"
    READING = "reading"
    ANSWERED = "answered"


Place = tuple[Stage, int]
"""The stage, and which request of the connection it is about."""

_LOOKS = 4
_MAKES_ROOM = {Stage.SILENT: 0, Stage.HEAD: 0, Stage.IDLE: 1, Stage.BODY: 2, Stage.READING: 3}
_SHARE = 16  # a search through all connections is worth a sixteenth as many newcomers


class Watched(Protocol):
    loop: asyncio.AbstractEventLoop

    def place(self) -> Place:
        """Where it stands now."""

    def cut(self, stage: Stage) -> None:
        """Hang up: it was in this stage for too long."""

    def make_room(self) -> None:
        """Hang up: another connection takes its place."""


class Watch:
    """Looks over the connections of a server, as long as there are any."""

    def __init__(self, patience: dict[Stage, float]) -> None:
        self._patience = patience
        self._pause = min(patience.values()) / _LOOKS
        self._open: dict[Watched, None] = {}  # the oldest first
        self._since: dict[Watched, tuple[Place, float]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: deque[tuple[Watched, Place]] = deque()
        self._newcomers = 0

    def add(self, connection: Watched) -> None:
        self._open[connection] = None
        if self._timer is None:
            self._timer = connection.loop.call_later(self._pause, self._look, connection.loop)

    def discard(self, connection: Watched) -> None:
        self._open.pop(connection, None)
        self._since.pop(connection, None)
        if not self._open and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def makes_room(self, newcomer: Watched) -> bool:
        """Hang up on the connection that has kept us waiting longest. False where none does."""
        self._newcomers += 1
        while True:
            while self._waiting:
                connection, place = self._waiting.popleft()
                if connection is not newcomer and connection in self._open and connection.place() == place:
                    self.discard(connection)
                    connection.make_room()
                    return True
            if self._newcomers <= len(self._open) // _SHARE:
                return False
            self._newcomers = 0
            self._waiting = self._longest_first()
            if not self._waiting:
                return False

    def _longest_first(self) -> deque[tuple[Watched, Place]]:
        """Those whom we wait for: by stage, then by the time in it as far as a look has seen it.

        All of the first stage there is, and of others no more than the next search is away.
        """
        now, found = time.monotonic(), []
        for age, connection in enumerate(self._open):
            place = connection.place()
            rank = _MAKES_ROOM.get(place[0])
            if rank is not None:
                seen = self._since.get(connection)
                since = seen[1] if seen is not None and seen[0] == place else now
                found.append((rank, since, age, connection, place))
        found.sort(key=lambda one: one[:3])
        most = max(sum(one[0] == found[0][0] for one in found), len(self._open) // _SHARE + 2)
        return deque((connection, place) for *_, connection, place in found[:most])

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now, slow = time.monotonic(), []
        for connection in self._open:
            place = connection.place()
            before = self._since.get(connection)
            if before is None or before[0] != place:
                self._since[connection] = place, now
            elif now - before[1] > self._patience.get(place[0], now):
                slow.append((connection, place[0]))
        self._timer = loop.call_later(self._pause, self._look, loop)
        for connection, stage in slow:
            connection.cut(stage)

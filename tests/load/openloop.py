"""The open loop: requests are sent when they are due, whatever became of those before them.

A closed loop sends less when a server is slow, and so leaves out its worst moments. Here a request's time
runs from the moment it was due, be it that the server or this client was late.

One thread looks at its sockets again and again and does not sleep when something is due soon, so the client
wants a CPU of its own.
"""

import gc
import select
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.load.wrk import Load

NEVER, CUT_OFF = 0, -1
"""For a status: no answer came in time or the request was never sent; the connection was lost over it."""
_FREE = -1
_SOON = 0.002  # seconds
_CHUNK = 1 << 18  # bytes


@dataclass(frozen=True)
class Stream:
    """`requests` in turn, one at each of the times in `due` (ascending seconds), over `connections`.

    One that finds no free connection waits for one; after `patience` seconds it is given up.
    """

    requests: Sequence[bytes]
    due: NDArray[np.float64]
    connections: int
    patience: float = 10.0


@dataclass(frozen=True)
class Answers:
    """What came of a stream's N requests: seconds from due to the answer's last byte (NaN: none), status."""

    due: NDArray[np.float64]
    seconds: NDArray[np.float64]
    status: NDArray[np.int16]

    def quantiles(self, *at: float) -> list[float]:
        """Milliseconds of those answered with 200; infinite where there are none."""
        good = self.seconds[self.status == 200]
        return [float(np.quantile(good, q)) * 1e3 if len(good) else float("inf") for q in at]


def poisson(rate: float, seconds: float, seed: int = 0) -> NDArray[np.float64]:
    """Times at which independent callers send, `rate` a second on average."""
    count = round(rate * seconds)
    return np.cumsum(np.random.default_rng(seed).exponential(1.0 / rate, count))


def raw(load: Load) -> list[bytes]:
    """A load's bodies as HTTP requests."""
    head = f"POST {load.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {load.content_type}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in load.headers.items())
    return [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in load.bodies]


def offer(port: int, streams: Sequence[Stream]) -> list[Answers]:
    """Send the streams to a server of this machine, and tell what came of each."""
    epoll = select.epoll()
    senders = [_Sender(port, stream, epoll) for stream in streams]
    gc.disable()  # a collection would hold this client up, not the server
    try:
        start = time.perf_counter()
        while True:
            now = time.perf_counter() - start
            soonest = min(sender.send_due(now) for sender in senders)
            if soonest == np.inf:
                break
            for fileno, event in epoll.poll(max(0.0, soonest - now - _SOON)):
                for sender in senders:
                    if sender.owns(fileno):
                        sender.look(fileno, event, time.perf_counter() - start)
                        break
    finally:
        gc.enable()
        for sender in senders:
            sender.close()
        epoll.close()
    return [sender.answers for sender in senders]


class _Connection:
    """A kept-alive connection and the one request that is under way on it."""

    __slots__ = ("answered", "buffer", "got", "left", "number", "socket", "want", "writing")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.number = _FREE
        self.left = memoryview(b"")  # of the request
        self.writing = False  # whether epoll tells when there is room for more of it
        self.buffer = b""  # the answer's beginning, up to its head's end
        self.got = self.want = 0  # bytes of the answer
        self.answered = False


class _Sender:
    """One stream and its connections."""

    def __init__(self, port: int, stream: Stream, epoll: select.epoll) -> None:
        self._port, self._epoll = port, epoll
        self._requests, self._patience = stream.requests, stream.patience
        self._due: list[float] = stream.due.tolist()
        self._next = self._under_way = 0
        self._end = self._due[-1] + stream.patience
        count = len(self._due)
        self.answers = Answers(stream.due, np.full(count, np.nan), np.full(count, NEVER, np.int16))
        self._by_socket: dict[int, _Connection] = {}
        self._free = [self._connect() for _ in range(stream.connections)]

    def owns(self, fileno: int) -> bool:
        return fileno in self._by_socket

    def send_due(self, now: float) -> float:
        """Send what is due; when to come again at the latest, infinity when all is done."""
        due, free, requests = self._due, self._free, self._requests
        while self._next < len(due) and due[self._next] <= now:
            if now - due[self._next] > self._patience:
                self._next += 1
                continue
            if not free:
                return now + _SOON
            connection = free.pop()
            connection.number = self._next
            connection.left = memoryview(requests[self._next % len(requests)])
            self._next += 1
            self._under_way += 1
            self._push(connection)
        if self._next < len(due):
            return due[self._next]
        return self._end if self._under_way and now < self._end else np.inf

    def look(self, fileno: int, event: int, now: float) -> None:
        """Take what a socket has to tell."""
        connection = self._by_socket[fileno]
        if event & select.EPOLLOUT:
            self._push(connection)
        if event & ~select.EPOLLOUT:
            self._pull(connection, now)

    def close(self) -> None:
        for connection in self._by_socket.values():
            connection.socket.close()

    def _connect(self) -> _Connection:
        connection = _Connection(self._port)
        self._by_socket[connection.socket.fileno()] = connection
        self._epoll.register(connection.socket, select.EPOLLIN)
        return connection

    def _push(self, connection: _Connection) -> None:
        with suppress(BlockingIOError, ConnectionError):  # a lost connection is seen by the next read
            sent = connection.socket.send(connection.left)
            connection.left = connection.left[sent:]
        if connection.answered and not connection.left:
            self._release(connection)
        if connection.writing != bool(connection.left):
            connection.writing = not connection.writing
            wanted = select.EPOLLIN | (select.EPOLLOUT if connection.writing else 0)
            self._epoll.modify(connection.socket, wanted)

    def _pull(self, connection: _Connection, now: float) -> None:
        try:
            data = connection.socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._renew(connection)
            return
        if not connection.want:
            data = connection.buffer = connection.buffer + data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                return
            connection.want = end + 4 + _length(data[:end])
        connection.got += len(data)
        if connection.got >= connection.want:
            number = connection.number
            self.answers.seconds[number] = now - self._due[number]
            self.answers.status[number] = int(connection.buffer[9:12])
            connection.answered = True
            if not connection.left:  # else it was refused before it was read: its rest has to follow
                self._release(connection)

    def _release(self, connection: _Connection) -> None:
        connection.number, connection.buffer, connection.got, connection.want = _FREE, b"", 0, 0
        connection.answered = False
        self._under_way -= 1
        self._free.append(connection)

    def _renew(self, connection: _Connection) -> None:
        """The server hung up, over a request or while nothing was asked of it."""
        del self._by_socket[connection.socket.fileno()]
        connection.socket.close()
        if connection.number == _FREE:
            self._free.remove(connection)
        else:
            if not connection.answered:
                self.answers.status[connection.number] = CUT_OFF
            self._under_way -= 1
        self._free.append(self._connect())


def _length(head: bytes) -> int:
    at = head.find(b"content-length: ")
    return int(head[at + 16 :].split(b"\r\n", 1)[0]) if at >= 0 else 0

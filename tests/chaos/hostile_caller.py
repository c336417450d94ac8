"""A hostile caller with a key that may score: for each line on its input one round of all that he knows.

    python -m tests.chaos.hostile_caller PORT KEY

A process of its own, so that it takes no time of those who measure. A round sends every body that takes long
to read, floods alerts, holds heads open, sends trailers without end, asks for other protocols, and pipelines
requests whose answers it does not read. It prints what was answered at the end of each round, as JSON.
"""

import http.client
import json
import os
import select
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

from tests.load.hostile_bodies import BODIES, JSON, rows_of

SECONDS = 3.0  # of each act
HEADS = 300  # held open at once
TRAILER = b"x-filler: " + b"y" * 4_000 + b"\r\n"
NAMES = tuple(f"f{number}" for number in range(1, 10))  # of the starter model


class HostileCaller:
    def __init__(self, port: int, key: str) -> None:
        self._port, self._key = port, key
        self._made = {name: (made(NAMES), kind, packed) for name, (made, kind, packed) in BODIES.items()}
        self.answers: Counter[str] = Counter()

    def round(self) -> None:
        for sent in self._made.values():
            self._for_a_while(partial(self._send, *sent))
        strange = rows_of(NAMES, 1e12, 1_000)
        for act in (
            partial(self._send, strange, JSON, packed=False),
            self._ask_for_what_is_not_there,
            self._hold_heads,
            self._send_trailers,
            self._offer_another_protocol,
            self._read_no_answer,
        ):
            self._for_a_while(act)

    def _for_a_while(self, act: Callable[[], None]) -> None:
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            try:
                act()
            except (OSError, http.client.HTTPException) as error:  # hung up on
                self.answers[type(error).__name__] += 1

    def _send(self, body: bytes, kind: str, packed: bool) -> None:
        headers = {"Content-Type": kind, "Authorization": f"Bearer {self._key}"}
        if packed:
            headers["Content-Encoding"] = "gzip"
        self._ask("POST", "/score", body, headers)

    def _ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] = {}) -> None:  # noqa: B006
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            answer.read()
            self.answers[str(answer.status)] += 1
        finally:
            connection.close()

    def _ask_for_what_is_not_there(self) -> None:
        for method, path in (("GET", "/nowhere"), ("DELETE", "/score"), ("GET", "/queue?limit=x")):
            self._ask(method, path)

    def _hold_heads(self) -> None:
        held = [self._connected() for _ in range(HEADS)]
        for connection in held:
            connection.sendall(b"POST /score HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        time.sleep(SECONDS / 2)
        for connection in held:
            connection.close()

    def _send_trailers(self) -> None:
        with self._connected() as connection:
            connection.sendall(self._head(b"Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n")
            for _ in range(5_000):
                connection.sendall(TRAILER)
                if select.select([connection], [], [], 0)[0]:
                    self.answers[connection.recv(20).decode("latin-1")[9:12]] += 1
                    return

    def _offer_another_protocol(self) -> None:
        body = rows_of(NAMES, 1.5, 1)
        with self._connected() as connection:
            offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ"
            connection.sendall(self._head(offer + b"\r\nContent-Length: %d" % len(body)))
            connection.sendall(body)
            self.answers[connection.recv(20).decode("latin-1")[9:12]] += 1

    def _read_no_answer(self) -> None:
        body = rows_of(NAMES, 1.5, 10)
        request = self._head(b"Content-Length: %d" % len(body)) + body
        with self._connected() as connection:
            connection.settimeout(0.5)
            for _ in range(2_000):
                connection.sendall(request)

    def _connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=10)

    def _head(self, more: bytes) -> bytes:
        return (
            b"POST /score HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer %b\r\n%b\r\n\r\n" % (self._key.encode(), more)
        )


def main() -> None:
    os.nice(19)
    caller = HostileCaller(int(sys.argv[1]), sys.argv[2])
    for _ in sys.stdin:
        caller.answers.clear()
        caller.round()
        print(json.dumps(caller.answers), flush=True)


if __name__ == "__main__":
    main()

"""Requests that are almost HTTP, over a bare socket: trailers, upgrades, lengths and heads that do not agree.

    python -m tests.contract.fuzz_wire --requests 20000

Whatever is sent, the connection after it and everybody else are answered as before: nothing of a body is
taken for a request, no header of a trailer counts, and no answer is a server error.
"""

import argparse
import contextlib
import json
import random
import socket
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.contract.attack import guarded_service, server_errors
from tests.service.scoring.test_endpoint import RECORD

BODY = json.dumps({"records": [RECORD]}).encode()
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
"""In a body, or after one: it is never answered."""
PATIENCE = 0.25  # seconds in which an answer to a request that may never be whole is waited for


@dataclass
class WireReport:
    """`broken`: the number of a request, and which promise its answer broke."""

    seed: int
    statuses: Counter[str] = field(default_factory=Counter)
    broken: list[tuple[int, str]] = field(default_factory=list)

    def __str__(self) -> str:
        counted = ", ".join(f"{count} x {what}" for what, count in sorted(self.statuses.items()))
        return f"seed {self.seed}: {self.statuses.total()} requests, {len(self.broken)} broken; {counted}"


class WireFuzzer:
    """Request `number` of a `seed` is always the same."""

    def __init__(self, client: httpx.Client, secret: str, seed: int) -> None:
        self._address = ("127.0.0.1", client.base_url.port or 0)
        self._secret = secret.encode()
        self._client = client
        self.report = WireReport(seed)

    def send(self, number: int) -> None:
        rng = random.Random(f"{self.report.seed}.{number}")  # noqa: S311
        kind, parts, with_key = self._request(rng)
        answer = self._answer(parts)
        status = answer[9:12].decode("latin-1") or "none"
        self.report.statuses[f"{kind} {status}"] += 1
        for promise, kept in (
            ("no server error", not status.startswith("5")),
            ("a key in a trailer is none", with_key or status != "200"),
            ("a body is no request", b"/smuggled" not in answer and answer.count(b"HTTP/1.1 404") == 0),
        ):
            if not kept:
                self.report.broken.append((number, f"{kind}: {promise}: {answer[:300]!r}"))
        if number % 50 == 0 and self._client.get("/healthz").status_code != 200:
            self.report.broken.append((number, f"{kind}: health"))

    def _request(self, rng: random.Random) -> tuple[str, list[bytes], bool]:
        """What is sent, in the parts that are sent apart, and whether its head has a key."""
        with_key = rng.random() < 0.8
        key = b"X-API-Key: %b\r\n" % self._secret
        path = rng.choice((b"/score", b"/score", b"/feedback", b"/healthz"))
        head = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n" % path
        head += key if with_key else b""
        body = rng.choice((BODY, BODY, SMUGGLED))
        kind = rng.choice(("trailer", "upgrade", "length"))
        if kind == "trailer":
            count = rng.choice((0, 1, 10, 5_000))
            fields = b"".join([b"x%d: y\r\n" % (i % 10) for i in range(count)]) + rng.choice(
                (key, b"", b"bad\r\n")
            )
            whole = head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n%b\r\n" % (
                len(body),
                body,
                fields,
            )
            with_key = with_key or path == b"/healthz"
        elif kind == "upgrade":
            wanted = rng.choice((b"h2c", b"websocket", b"TLS/1.0", b"x" * 1_000))
            more = b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n" if wanted == b"h2c" else b""
            head += b"Connection: Upgrade\r\nUpgrade: %b\r\n%b" % (wanted, more)
            whole = head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        else:
            length = rng.choice((b"-1", b"+5", b"1e3", b"", b"99999999999999999999", b"%d" % (len(body) + 9)))
            whole = head + b"Content-Length: %b\r\n\r\n%b" % (length, body)
        cuts = sorted(rng.sample(range(1, len(whole)), rng.choice((0, 0, 1, 2))))
        return kind, [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)], with_key

    def _answer(self, parts: list[bytes]) -> bytes:
        found = b""
        with (
            socket.create_connection(self._address, timeout=PATIENCE) as connection,
            contextlib.suppress(OSError),
        ):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for part in parts:
                connection.sendall(part)
                time.sleep(0.001)
            while chunk := connection.recv(65_536):
                found += chunk
                if b"\r\n\r\n" in found:
                    connection.settimeout(0.02)  # whatever comes after it comes at once
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=None, help="default: a new one")
    parser.add_argument("--only", type=int, help="send the request of this number alone")
    asked = parser.parse_args()
    seed = asked.seed if asked.seed is not None else random.randrange(2**32)  # noqa: S311
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        client, secret = stack.enter_context(guarded_service(home))
        fuzzer = WireFuzzer(client, secret, seed)
        for number in range(asked.requests) if asked.only is None else (asked.only,):
            fuzzer.send(number)
        errors = server_errors(client)
    for number, what in fuzzer.report.broken[:20]:
        print(f"request {number}: {what}")
    print(fuzzer.report)
    sys.exit(bool(fuzzer.report.broken or errors))


if __name__ == "__main__":
    main()

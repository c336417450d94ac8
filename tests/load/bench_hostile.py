"""`make bench-hostile`: how much later small requests are answered beside a caller who sends hostile bodies.

Each body is within the limits, or refused by one. A small request is sent every few milliseconds; p99.9
beside each body stands next to p99.9 of the same run without it.
"""

import argparse
import http.client
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from nearnorm.models.bundle.bundle import read_bundle
from tests.load.hostile_bodies import BODIES, JSON, rows_of
from tests.load.servers import nearnorm, running

AIM_MS = 100.0
PAUSE = 0.005


def p999(port: int, small: bytes, seconds: float) -> float:
    """In milliseconds, of small requests sent one after the other."""
    waits, connection = [], http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        begun = time.perf_counter()
        connection.request("POST", "/score", small, {"Content-Type": JSON})
        connection.getresponse().read()
        waits.append(time.perf_counter() - begun)
        time.sleep(PAUSE)
    connection.close()
    return float(np.quantile(waits, 0.999)) * 1e3


class Hostile:
    """One caller who sends a body again and again."""

    def __init__(self, port: int, body: bytes, kind: str, packed: bool) -> None:
        self._port, self._body = port, body
        self._headers = {"Content-Type": kind} | ({"Content-Encoding": "gzip"} if packed else {})
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0
        self.statuses: set[int] = set()

    def __enter__(self) -> "Hostile":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
            connection.request("POST", "/score", self._body, self._headers)
            answer = connection.getresponse()
            answer.read()
            connection.close()
            self.statuses.add(answer.status)
            self.sent += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="for each body, and for the run without it"
    )
    parser.add_argument("--model", type=Path, default=Path("models/starter"), help="a bundle")
    parser.add_argument("--port", type=int, default=18_230)
    given = parser.parse_args()
    bundle = read_bundle(given.model)
    names = tuple(feature.name for feature in bundle.manifest.core.features.scored)
    small = rows_of(names, 1.5, 1)
    late = []
    print("| body | MB | answered | sent | p99.9 without, ms | p99.9 beside, ms | more |")
    print("|---|---|---|---|---|---|---|")
    with (
        tempfile.TemporaryDirectory() as folder,
        running([nearnorm(bundle, Path(folder) / "home")], given.port) as (server,),
    ):
        port = server.port
        p999(port, small, 1.0)
        for name, (made, kind, packed) in BODIES.items():
            body = made(names)
            without = p999(port, small, given.seconds)
            with Hostile(port, body, kind, packed) as caller:
                beside = p999(port, small, given.seconds)
            if beside - without > AIM_MS:
                late.append(name)
            answered = ", ".join(map(str, sorted(caller.statuses)))
            print(
                f"| {name} | {len(body) / 1e6:.2f} | {answered} | {caller.sent} "
                f"| {without:.1f} | {beside:.1f} | {beside - without:.1f} |",
                flush=True,
            )
    print(f"\n{os.cpu_count()} CPUs, load average {os.getloadavg()[1]:.1f}")
    if late:
        sys.exit(f"more than {AIM_MS:.0f} ms later: {', '.join(late)}")


if __name__ == "__main__":
    main()

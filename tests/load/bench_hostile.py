"""`make bench-hostile`: how much later small requests are answered beside a caller who sends hostile bodies.

Each body is within the limits, or refused by one. A small request is sent every few milliseconds; p99.9
beside each body stands next to p99.9 of the same run without it.
"""

import argparse
import http.client
import multiprocessing
import os
import sys
import tempfile
import time
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

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
    """One caller who sends a body again and again, from a process of his own."""

    def __init__(self, port: int, body: bytes, kind: str, packed: bool) -> None:
        headers = {"Content-Type": kind} | ({"Content-Encoding": "gzip"} if packed else {})
        context = multiprocessing.get_context("spawn")
        self._ready, self._over, self._told = context.Event(), context.Event(), context.SimpleQueue()
        self._process = context.Process(
            target=_send_on, args=(port, body, headers, self._ready, self._over, self._told)
        )
        self.sent = 0
        self.statuses: set[int] = set()

    def __enter__(self) -> "Hostile":
        self._process.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.sent, self.statuses = self._told.get()
        self._process.join()


def _send_on(
    port: int, body: bytes, headers: dict[str, str], ready: Event, over: Event, told: "SimpleQueue[Any]"
) -> None:
    os.nice(19)  # on a network, he has a machine of his own
    sent, statuses = 0, set()
    ready.set()
    while not over.is_set():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        connection.request("POST", "/score", body, headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        statuses.add(answer.status)
        sent += 1
    told.put((sent, statuses))


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

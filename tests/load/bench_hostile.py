"""`make bench-hostile`: how much later small requests are answered beside a caller who sends hostile bodies.

Each body is within the limits, or refused by one. A small request is sent every few milliseconds; p99.9
beside each body stands next to p99.9 of the same run without it.
"""

import argparse
import gzip
import http.client
import io
import json
import os
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from nearnorm.models.bundle.bundle import read_bundle
from tests.load.servers import nearnorm, running

AIM_MS = 100.0
PAUSE = 0.005
JSON, ARROW = "application/json", "application/vnd.apache.arrow.stream"
Made = Callable[[tuple[str, ...]], bytes]


def _rows(names: tuple[str, ...], value: object, count: int = 10_000) -> bytes:
    return json.dumps({"records": [dict.fromkeys(names, value)] * count}).encode()


def _stream(names: tuple[str, ...], first: pa.Array) -> bytes:
    columns = {name: pa.array([1.0] * len(first)) for name in names[1:]}
    sink = io.BytesIO()
    batch = pa.record_batch({names[0]: first, **columns})
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def _views(rows: int) -> pa.Array:
    text = b"9" * 2_000_000
    one = struct.pack("<i4sii", len(text), text[:4], 0, 0)
    return pa.Array.from_buffers(pa.string_view(), rows, [None, pa.py_buffer(one * rows), pa.py_buffer(text)])


def _run_ends(rows: int) -> pa.Array:
    return pa.RunEndEncodedArray.from_arrays(pa.array([rows], pa.int32()), pa.array(["9" * 2_000_000]))


def _one(name: str, value: bytes) -> bytes:
    return b'{"records":[{"%b":%b}]}' % (name.encode(), value)


BODIES: dict[str, tuple[Made, str, bool]] = {
    "10,000 rows": (lambda names: _rows(names, 1.5), JSON, False),
    "10,000 rows of text": (lambda names: _rows(names, "1.5"), JSON, False),
    "10,000 rows of nulls": (lambda names: _rows(names, None), JSON, False),
    "10,000 rows of 3 KB texts": (lambda names: _rows(names[:1], "x" * 3_000), JSON, False),
    "5 million numbers and 1e999": (
        lambda names: _one(names[0], b'1e999,"z":[%b]' % b",".join([b"1.5"] * 5_000_000)),
        JSON,
        False,
    ),
    "2 million unknown fields": (
        lambda names: _one(names[0], b"1," + b",".join(b'"k%d":1' % i for i in range(2_000_000))),
        JSON,
        False,
    ),
    "80,000 unknown fields": (
        lambda names: _one(names[0], b"1," + b",".join(b'"k%d":1' % i for i in range(80_000))),
        JSON,
        False,
    ),
    "an integer of 30 MB": (lambda names: _one(names[0], b"1" * 30_000_000), JSON, False),
    "a text of 30 MB for a number": (
        lambda names: _one(names[0], b'"' + b"1" * 30_000_000 + b'"'),
        JSON,
        False,
    ),
    "30 million brackets": (lambda _: b"[" * 30_000_000, JSON, False),
    "an id of 30 MB": (
        lambda names: _one(names[0], b"1")[:-1] + b',"ids":["%b"]}' % (b"i" * 30_000_000),
        JSON,
        False,
    ),
    "a field's name of 30 MB": (
        lambda _: b'{"strict":true,"records":[{"%b":1}]}' % (b"n" * 30_000_000),
        JSON,
        False,
    ),
    "31 MB of spaces in 30 KB of gzip": (
        lambda names: gzip.compress(_rows(names, 1.5)[:-1] + b" " * 30_000_000 + b"}"),
        JSON,
        True,
    ),
    "Arrow: a run of 10,000 texts": (lambda names: _stream(names, _run_ends(10_000)), ARROW, False),
    "Arrow: views of one text": (lambda names: _stream(names, _views(10_000)), ARROW, False),
    "Arrow: 2^31 rows of nulls": (lambda names: _stream(names[:1], pa.nulls(2**31 - 1)), ARROW, False),
    "Arrow: 200,000 texts, unused": (
        lambda names: _stream(
            names,
            pa.DictionaryArray.from_arrays(
                pa.array(range(10_000), pa.int32()), pa.array([f"1{i:070}" for i in range(200_000)])
            ),
        ),
        ARROW,
        False,
    ),
}


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
    small = _rows(names, 1.5, 1)
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

"""Fairness of `make bench-many`: how much later one line is answered beside another line's flood.

Two lines of one service, each with a key of its own. One sends a record every few milliseconds; the other one
floods the service by wrk, with all that its connections carry. What the calm line waits beside each flood
stands next to what it waits without, by turns.

The service has one CPU and its callers another; the flood's sender yields to the calm line's, as it would by
having a machine of its own. Where the machine has much else to do, `--first` (as root, for a minute or two)
lets service and callers go before it all.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.store.folder import ModelStore
from tests.load.loads import ALONE, MANY, ONE, SOME, Size, load_of
from tests.load.openloop import raw
from tests.load.servers import NEARNORM, Program, clean_environment, nearnorm, running, trained
from tests.load.wrk import Load, write_script, wrk

AIM = 1.5
CALM, FLOOD = "calm", "flood"
PAUSE = 0.003
FLOODS = {
    "1 row, 64 connections": ONE,
    "32 rows, 16 connections": SOME,
    "32 rows, 512 connections": replace(SOME, connections=512),
    "1,000 rows, 4 connections": MANY,
    "1,000 rows, 64 connections": replace(MANY, connections=64),
}
SERVICE_CPU, CALLERS_CPU = {0}, {1}


@dataclass(frozen=True)
class Turn:
    """One flood, and the same time without: what the calm line waits, in milliseconds."""

    flood: str
    alone_p50: float
    alone_p99: float
    beside_p50: float
    beside_p99: float
    refused: int

    @property
    def times(self) -> float:
        return self.beside_p99 / self.alone_p99


def two_lines(bundle: Bundle, home: Path) -> tuple[Program, dict[str, str]]:
    """The service, and the secret of each line's key."""
    program = nearnorm(bundle, home)
    store = ModelStore(home / "models")
    secrets = {}
    for line in (CALM, FLOOD):
        store.activate(store.versions()[0], by="bench", model=line)
        command = [NEARNORM, "keys", "create", line, "--role", "score", "--model", line]
        made = subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            env=clean_environment(NEARNORM_HOME=str(home)),
        )
        secrets[line] = made.stdout.strip()
    return program, secrets


def load_to(line: str, secret: str, size: Size) -> Load:
    """A size's bodies for a line: many rows as columns, few as records."""
    load = load_of(size, "columns" if size.rows >= MANY.rows else "records")
    bodies = [json.dumps({**json.loads(body), "model": line}).encode() for body in load.bodies]
    return replace(load, name=f"{line} {load.name}", bodies=bodies, headers={"X-API-Key": secret})


@contextmanager
def flooding(load: Load, script: Path, port: int, seconds: float) -> Iterator[None]:
    """wrk with the flood while the body runs."""
    command = ["chrt", "--other", "0", "nice", "-n", "5", *wrk(load, script, port, round(seconds) + 60)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(1.0)
        yield
        assert process.poll() is None, "the flood ended too soon"
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Waits:
    """Milliseconds of each request, and how many were not answered by scores."""

    each: NDArray[np.float64]
    refused: int

    @property
    def quantiles(self) -> tuple[float, float]:
        """The median, and the slowest hundredth's."""
        return float(np.quantile(self.each, 0.5)), float(np.quantile(self.each, 0.99))


def calm(port: int, load: Load, seconds: float) -> Waits:
    """Requests one after the other, a pause between them."""
    each: list[float] = []
    refused = 0
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        requests, until = raw(load), time.monotonic() + seconds
        while time.monotonic() < until:
            begun = time.perf_counter()
            connection.sendall(requests[len(each) % len(requests)])
            answer = connection.recv(1 << 16)
            each.append(1e3 * (time.perf_counter() - begun))
            refused += not answer.startswith(b"HTTP/1.1 200")
            time.sleep(PAUSE)
    return Waits(np.array(each), refused)


def go_first(pid: int) -> None:
    """Let a process go before all others, and its event loop before its other threads."""
    for thread in map(int, os.listdir(f"/proc/{pid}/task")):
        os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(2 if thread == pid else 1))


def table(turns: list[Turn]) -> tuple[str, list[str]]:
    """Medians by flood, of ratios within a turn; and the floods that cost more than they may."""
    lines = [
        "| flood of the other line | p50 without, ms | beside | p99 without, ms | beside | times | refused |",
        "|---|---|---|---|---|---|---|",
    ]
    over = []
    for flood in dict.fromkeys(one.flood for one in turns):
        own = [one for one in turns if one.flood == flood]
        names = ("alone_p50", "beside_p50", "alone_p99", "beside_p99")
        at = [f"{statistics.median(getattr(one, name) for one in own):.2f}" for name in names]
        times = statistics.median(one.times for one in own)
        if times > AIM:
            over.append(flood)
        cells = [flood, *at, f"{times:.2f}", str(sum(one.refused for one in own))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines), over


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each flood, and of each time without")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", type=Path, default=Path("build/bench-serve"), help="kept between runs")
    parser.add_argument("--port", type=int, default=18_240)
    parser.add_argument("--flood", choices=FLOODS, action="append", help="only these")
    parser.add_argument("--first", action="store_true", help="before everything else on the machine")
    parser.add_argument("--out", type=Path, help="every turn's figures as JSON")
    given = parser.parse_args()
    bundle = trained(given.model)
    turns = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program, secrets = two_lines(bundle, folder / "home")
        one = load_to(CALM, secrets[CALM], ALONE)
        floods = {n: load_to(FLOOD, secrets[FLOOD], FLOODS[n]) for n in given.flood or FLOODS}
        scripts = {n: write_script(replace(load, name=f"{n} flood"), folder) for n, load in floods.items()}
        if given.first:
            go_first(os.getpid())
        os.sched_setaffinity(0, SERVICE_CPU)  # who is started inherits both
        with running([program], given.port) as (server,):
            os.sched_setaffinity(0, CALLERS_CPU)
            calm(server.port, one, 1.0)
            for number in range(given.rounds):
                for flood, load in floods.items():
                    if given.first:
                        go_first(server.process.pid)
                    alone = calm(server.port, one, given.seconds)
                    with flooding(load, scripts[flood], server.port, given.seconds):
                        if given.first:
                            go_first(server.process.pid)
                        beside = calm(server.port, one, given.seconds)
                    time.sleep(1.0)  # what was under way ends
                    refused = alone.refused + beside.refused
                    turns.append(Turn(flood, *alone.quantiles, *beside.quantiles, refused))
                    print(f"round {number + 1}: {turns[-1]}", file=sys.stderr, flush=True)
    told, over = table(turns)
    print(f"{os.cpu_count()} CPUs, load average {os.getloadavg()[1]:.1f}, medians of {given.rounds} rounds\n")
    print(told)
    if given.out:
        given.out.write_text(json.dumps([asdict(one) for one in turns]))
    if over:
        sys.exit(f"more than {AIM} times the p99: {', '.join(over)}")


if __name__ == "__main__":
    main()

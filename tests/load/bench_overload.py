"""`make bench-overload`: three times what the service can do, for a minute.

Capacity is what the closed loop reaches. Then callers who do not care how the service fares (the open loop)
send half of it, three times it, and half of it again, while somebody asks for /healthz ten times a second.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.load.closed import Round, one_round
from tests.load.loads import MANY, SOME, Size, load_of
from tests.load.openloop import Answers, Stream, offer, poisson, raw
from tests.load.servers import Server, nearnorm, running, trained
from tests.load.wrk import Load, write_script

TIMES = 3.0
HALF = 5.0  # seconds of half the capacity, before and after
PATIENCE = 2.0  # seconds
SLOW = 0.25  # seconds: an answer that took longer does not count as recovered
CONNECTIONS = {SOME: 1024, MANY: 64}
"""Callers at once: enough for the service's own queue to fill."""
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: bench\r\n\r\n"


@dataclass(frozen=True)
class Told:
    """Requests a second, milliseconds, and the CPU that the service spent on a request, in microseconds."""

    size: str
    capacity: float
    offered: float
    goodput: float
    refused: float
    unanswered: float
    errors: int
    accepted_p50: float
    accepted_p99: float
    refused_p99: float
    recovery: float
    health_unanswered: int
    health_p99: float
    health_max: float
    calm_p99: float
    cpu_of_accepted: float
    cpu_of_refused: float


def overload(server: Server, size: Size, seconds: float, script: Path, load: Load) -> Told:
    calm: list[Round] = [one_round(server, load, script, 2) for _ in range(3)]
    capacity = statistics.median(one.rate for one in calm)
    before = poisson(capacity / 2, HALF, 1)
    during = HALF + poisson(TIMES * capacity, seconds, 2)
    after = HALF + seconds + poisson(capacity / 2, HALF, 3)
    scores = Stream(raw(load), np.concatenate([before, during, after]), CONNECTIONS[size], PATIENCE)
    health = Stream([HEALTH], np.arange(0.05, 2 * HALF + seconds, 0.1), 4, PATIENCE)
    cpu = server.cpu_seconds
    found, alive = offer(server.port, [scores, health])
    cpu = server.cpu_seconds - cpu
    middle = (found.due > HALF + 1.0) & (found.due <= HALF + seconds)  # its first second fills the queue
    good, refused = found.status == 200, found.status == 429
    cpu_of_accepted = statistics.median(one.cpu_us for one in calm)
    return Told(
        size.name,
        capacity,
        TIMES * capacity,
        (good & middle).sum() / (seconds - 1.0),
        float((refused & middle).sum() / middle.sum()),
        float((found.status[middle] == 0).mean()),
        int((~good & ~refused & (found.status != 0)).sum()),
        _milliseconds(found, good & middle, 0.5),
        _milliseconds(found, good & middle, 0.99),
        _milliseconds(found, refused & middle, 0.99),
        _recovery(found, HALF + seconds),
        int((alive.status != 200).sum()),
        _milliseconds(alive, alive.status == 200, 0.99),
        _milliseconds(alive, alive.status == 200, 1.0),
        _milliseconds(found, good & (found.due < HALF), 0.99),
        cpu_of_accepted,
        (1e6 * cpu - cpu_of_accepted * good.sum()) / max(1, refused.sum()),
    )


def _milliseconds(answers: Answers, which: NDArray[np.bool_], quantile: float) -> float:
    seconds = answers.seconds[which]
    return 1e3 * float(np.quantile(seconds, quantile)) if len(seconds) else float("nan")


def _recovery(found: Answers, end: float) -> float:
    """Seconds after the overload's end at which the last request was due that was not answered as before."""
    late = found.due > end
    bad = late & ((found.status != 200) | ~(found.seconds <= SLOW))
    return float(found.due[bad].max() - end) if bad.any() else 0.0


def table(told: list[Told]) -> str:
    lines = ["| | " + " | ".join(one.size for one in told) + " |", "|---|" + "---|" * len(told)]
    rows: tuple[tuple[str, Callable[[Told], str]], ...] = (
        ("capacity, requests/s", lambda t: f"{t.capacity:,.0f}"),
        ("offered, requests/s", lambda t: f"{t.offered:,.0f}"),
        ("goodput, of the capacity (aim: 0.9)", lambda t: f"{t.goodput / t.capacity:.2f}"),
        ("refused with 429", lambda t: f"{t.refused:.0%}"),
        ("not sent or not answered in 2 s", lambda t: f"{t.unanswered:.2%}"),
        ("other answers, lost connections", lambda t: f"{t.errors}"),
        ("accepted: p50 / p99 ms", lambda t: f"{t.accepted_p50:.0f} / {t.accepted_p99:.0f}"),
        ("refused: p99 ms", lambda t: f"{t.refused_p99:.0f}"),
        ("at half the capacity: p99 ms", lambda t: f"{t.calm_p99:.1f}"),
        ("recovery, s (aim: 1)", lambda t: f"{t.recovery:.2f}"),
        ("/healthz not answered", lambda t: f"{t.health_unanswered}"),
        ("/healthz: p99 / max ms", lambda t: f"{t.health_p99:.0f} / {t.health_max:.0f}"),
        ("CPU us: accepted / refused", lambda t: f"{t.cpu_of_accepted:.0f} / {t.cpu_of_refused:.0f}"),
    )
    for name, text in rows:
        lines.append(f"| {name} | " + " | ".join(map(text, told)) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--model", type=Path, default=Path("build/bench-serve"), help="kept between runs")
    parser.add_argument("--out", type=Path, help="the figures as JSON")
    given = parser.parse_args()
    bundle = trained(given.model)
    told: list[Told] = []
    for size in (SOME, MANY):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            load = load_of(size, "records")
            script = write_script(load, folder)
            with running([nearnorm(bundle, folder / "home")]) as (server,):
                told.append(overload(server, size, given.seconds, script, load))
        print(f"{size.name}: done", file=sys.stderr)
    print(f"{os.cpu_count()} CPUs, load average {os.getloadavg()[1]:.1f}, {given.seconds:.0f} s\n")
    print(table(told))
    if given.out:
        given.out.write_text(json.dumps([asdict(one) for one in told], indent=1))


if __name__ == "__main__":
    main()

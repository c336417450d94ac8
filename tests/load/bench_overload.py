"""`make bench-overload`: three times what the service can do, for a minute.

The service has one CPU and its callers another, in all that is measured here. Capacity is what callers reach
who send again when they are answered. Then callers who do not care how the service fares send half of it,
three times it, and half of it again, while somebody asks for /healthz ten times a second. Then the capacity
is measured anew: where others use the machine too it differs by a fifth from one minute to the next. What is
told is the median of several such runs.

Callers share a bounded number of connections. One who finds none free for half a second gives up, or for
--patience: that is where a service that reads no more than it can answer leaves them. When the load falls to
half of the capacity, the callers' own queue takes up to twice their patience to empty, whatever the service
does.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.load.loads import MANY, SOME, Size, load_of
from tests.load.openloop import Answers, Stream, offer, poisson, raw
from tests.load.servers import Server, nearnorm, running, trained
from tests.load.wrk import Load

TIMES = 3.0
HALF = 5.0  # seconds of half the capacity, before and after
SLOW = 0.25  # seconds: an answer that took longer does not count as recovered
CALM = {SOME: 128, MANY: 12}
"""Connections that keep the service busy without a refusal."""
CONNECTIONS = {SOME: 1024, MANY: 64}
"""Enough for the service's own queue to fill."""
CLOSED = 3.0  # seconds that the capacity is measured for, three times
SERVICE_CPU, CALLERS_CPU = {0}, {1}
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass(frozen=True)
class Told:
    """Requests a second, milliseconds, and the service's CPU in microseconds.

    `goodput` is a share of the capacity, the mean of before and after. `cpu_of_refused` is what is left for
    each refusal where an accepted request cost as much as in the calm.
    """

    capacity: float
    offered: float
    goodput: float
    refused: float
    unanswered: float
    errors: float
    accepted_p50: float
    accepted_p99: float
    refused_p99: float
    recovery: float
    health_unanswered: float
    health_p99: float
    health_max: float
    calm_p99: float
    cpu_of_accepted: float
    cpu_of_refused: float


def overload(server: Server, size: Size, seconds: float, load: Load, patience: float) -> Told:
    capacity, cost = _capacity(server, size, load)
    before = poisson(capacity / 2, HALF, 1)
    during = HALF + poisson(TIMES * capacity, seconds, 2)
    after = HALF + seconds + poisson(capacity / 2, HALF, 3)
    scores = Stream(raw(load), np.concatenate([before, during, after]), CONNECTIONS[size], patience)
    health = Stream([HEALTH], np.arange(0.05, 2 * HALF + seconds, 0.1), 4, 2.0)
    cpu = server.cpu_seconds
    found, alive = offer(server.port, [scores, health])
    cpu = server.cpu_seconds - cpu
    offered = TIMES * capacity
    capacity, cpu_of_accepted = (
        statistics.fmean(both) for both in zip((capacity, cost), _capacity(server, size, load), strict=True)
    )
    begin, end = HALF + 1.0, HALF + seconds  # its first second fills the queue
    middle = (found.due > begin) & (found.due <= end)
    answered = found.due + found.seconds
    good, refused = found.status == 200, found.status == 429
    return Told(
        capacity,
        offered,
        (good & (answered > begin) & (answered <= end)).sum() / (end - begin) / capacity,
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


def _capacity(server: Server, size: Size, load: Load) -> tuple[float, float]:
    """Requests a second, and microseconds of the service's CPU for one of them."""
    number, rates, costs = 8 * CALM[size], [], []
    for _ in range(4):  # the first warms up, and tells how many to send
        stream = Stream(raw(load), np.zeros(number), CALM[size], 60.0)
        cpu = server.cpu_seconds
        (found,) = offer(server.port, [stream])
        costs.append(1e6 * (server.cpu_seconds - cpu) / number)
        rates.append(number / float(found.seconds.max()))
        number = round(CLOSED * rates[-1])
    return statistics.median(rates[1:]), statistics.median(costs[1:])


def _milliseconds(answers: Answers, which: NDArray[np.bool_], quantile: float) -> float:
    seconds = answers.seconds[which]
    return 1e3 * float(np.quantile(seconds, quantile)) if len(seconds) else float("nan")


def _recovery(found: Answers, end: float) -> float:
    """Seconds after the overload's end at which the last request was due that was not answered as before."""
    late = found.due > end
    bad = late & ((found.status != 200) | ~(found.seconds <= SLOW))
    return float(found.due[bad].max() - end) if bad.any() else 0.0


def median(runs: list[Told]) -> Told:
    """Each figure's own."""
    return replace(runs[0], **{f: statistics.median(asdict(one)[f] for one in runs) for f in asdict(runs[0])})


def table(runs: dict[str, list[Told]]) -> str:
    lines = ["| | " + " | ".join(runs) + " |", "|---|" + "---|" * len(runs)]
    rows: tuple[tuple[str, Callable[[Told], str]], ...] = (
        ("capacity, requests/s", lambda t: f"{t.capacity:,.0f}"),
        ("offered, requests/s", lambda t: f"{t.offered:,.0f}"),
        ("goodput, of the capacity (aim: 0.9)", lambda t: f"{t.goodput:.2f}"),
        ("refused with 429", lambda t: f"{t.refused:.0%}"),
        ("not sent: no connection free in time", lambda t: f"{t.unanswered:.2%}"),
        ("other answers, lost connections", lambda t: f"{t.errors:g}"),
        ("accepted: p50 / p99 ms", lambda t: f"{t.accepted_p50:.0f} / {t.accepted_p99:.0f}"),
        ("refused: p99 ms", lambda t: f"{t.refused_p99:.0f}"),
        ("at half the capacity: p99 ms", lambda t: f"{t.calm_p99:.1f}"),
        ("recovery, s (aim: 1)", lambda t: f"{t.recovery:.2f}"),
        ("/healthz not answered", lambda t: f"{t.health_unanswered:g}"),
        ("/healthz: p99 / max ms", lambda t: f"{t.health_p99:.0f} / {t.health_max:.0f}"),
        ("CPU us: accepted / refused", lambda t: f"{t.cpu_of_accepted:.0f} / {t.cpu_of_refused:.0f}"),
    )
    for name, text in rows:
        lines.append(f"| {name} | " + " | ".join(text(median(told)) for told in runs.values()) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--patience", type=float, default=0.5, help="seconds to wait for a free connection")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--model", type=Path, default=Path("build/bench-serve"), help="kept between runs")
    parser.add_argument("--out", type=Path, help="every run's figures as JSON")
    given = parser.parse_args()
    bundle = trained(given.model)
    runs: dict[str, list[Told]] = {size.name: [] for size in (SOME, MANY)}
    for number in range(given.runs):
        for size in (SOME, MANY):
            with tempfile.TemporaryDirectory() as name:
                load = load_of(size, "records")
                os.sched_setaffinity(0, SERVICE_CPU)  # who is started inherits it
                with running([nearnorm(bundle, Path(name) / "home")]) as (server,):
                    os.sched_setaffinity(0, CALLERS_CPU)
                    told = overload(server, size, given.seconds, load, given.patience)
            runs[size.name].append(told)
            figures = f"goodput {told.goodput:.2f}, recovery {told.recovery:.2f} s"
            print(f"run {number + 1} of {given.runs}, {size.name}: {figures}", file=sys.stderr)
    told_of = f"medians of {given.runs} runs of {given.seconds:.0f} s, patience {given.patience:g} s"
    print(f"{os.cpu_count()} CPUs, load average {os.getloadavg()[1]:.1f}, {told_of}\n")
    print(table(runs))
    if given.out:
        given.out.write_text(json.dumps({name: [asdict(one) for one in all_] for name, all_ in runs.items()}))


if __name__ == "__main__":
    main()

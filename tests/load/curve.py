"""Latency against offered load, in the open loop: one row a request, from independent callers."""

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

from tests.load.closed import Found, median
from tests.load.loads import ONE, load_of
from tests.load.openloop import Stream, offer, poisson, raw
from tests.load.servers import Server

PARTS = (0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 1.0)
"""Of the requests a second that the server answered in the closed loop."""
SHOWN = ("nearnorm", "empty", "tutorial")
CONNECTIONS = 256
PATIENCE = 2.0  # seconds


@dataclass(frozen=True)
class Point:
    """Milliseconds at `rate` offered requests a second; `answered`: the share that got its answer in time."""

    server: str
    part: float
    rate: float
    p50: float
    p99: float
    p999: float
    answered: float


def trace(servers: Sequence[Server], found: Found, rounds: int, seconds: float) -> list[Point]:
    """Every server at every part, in interleaved rounds; a point is the median of its rounds."""
    shown = [server for server in servers if server.name in SHOWN]
    requests = {s.name: raw(load_of(ONE, sorted(s.program.forms & {"records", "lists"})[0])) for s in shown}
    seen: dict[tuple[str, float], list[Point]] = {}
    for number in range(rounds):
        for part in PARTS:
            for server in shown:
                rate = part * median(found.of(ONE, server.name), "rate")
                due = poisson(rate, seconds, seed=number)
                (answers,) = offer(server.port, [Stream(requests[server.name], due, CONNECTIONS, PATIENCE)])
                good = float((answers.status == 200).mean())
                p50, p99, p999 = answers.quantiles(0.5, 0.99, 0.999)
                one = Point(server.name, part, rate, p50, p99, p999, good)
                seen.setdefault((server.name, part), []).append(one)
        print(f"open loop: round {number + 1} of {rounds}", file=sys.stderr)
    fields = ("rate", "p50", "p99", "p999", "answered")
    return [
        Point(*key, *(statistics.median(getattr(one, field) for one in points) for field in fields))
        for key, points in seen.items()
    ]


def table(points: Sequence[Point]) -> str:
    lines = [
        "| server | offered, of its closed-loop rate | requests/s | p50 ms | p99 ms | p99.9 ms | answered |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in sorted(points, key=lambda p: (SHOWN.index(p.server), p.part)):
        lines.append(
            f"| {one.server} | {one.part:.0%} | {one.rate:,.0f} | {one.p50:.2f} | {one.p99:.2f} "
            f"| {one.p999:.2f} | {one.answered:.1%} |"
        )
    return "\n".join(lines)


def draw(points: Sequence[Point], path: Path) -> None:
    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 3, figsize=(11, 3.6), sharex=True, sharey=True, layout="constrained")
    for panel, field, title in zip(panels, ("p50", "p99", "p999"), ("p50", "p99", "p99.9"), strict=True):
        for server in SHOWN:
            own = sorted((p for p in points if p.server == server), key=lambda p: p.rate)
            panel.plot([p.rate for p in own], [getattr(p, field) for p in own], marker="o", label=server)
        panel.set(xscale="log", yscale="log", title=title, xlabel="requests offered a second")
        panel.grid(alpha=0.3, which="both")
    panels[0].set_ylabel("milliseconds from due to answered")
    panels[0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)

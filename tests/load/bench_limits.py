"""`make bench-limits`: whether other threads or batch limits would serve this machine better.

Each setting is a server of its own; all are measured in interleaved rounds. `nearnorm tune` would be worth
having if one of them won more than a twentieth at some size and lost it at no other.
"""

import argparse
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from nearnorm.service.inference.engine import cpus
from nearnorm.service.process.server import run
from nearnorm.service.serving.memory import loader
from nearnorm.service.settings import load_settings
from tests.load.closed import Found, measure, median, ratio
from tests.load.loads import MANY, ONE, SOME
from tests.load.servers import Program, nearnorm, running, trained

BUILT_IN = (1, loader.BATCH_ROWS, loader.INLINE_ROWS)
"""onnxruntime's threads, most rows of a batch, most rows that run in the event loop's own thread."""


def settings() -> list[tuple[int, int, int]]:
    threads, batch, inline = BUILT_IN
    others = [(threads, batch // 4, inline), (threads, 4 * batch, inline)]
    others += [(threads, batch, inline // 4), (threads, batch, 4 * inline)]
    if cpus() > 1:
        others.append((cpus(), batch, inline))
    return [BUILT_IN, *others]


def program(base: Program, setting: tuple[int, int, int]) -> Program:
    threads, batch, inline = setting
    command = (sys.executable, "-m", "tests.load.bench_limits", "serve", str(batch), str(inline))
    more = {"NEARNORM_THREADS": str(threads), "NEARNORM_PORT": "{port}"}
    return replace(base, name=told(setting), command=command, environment={**base.environment, **more})


def told(setting: tuple[int, int, int]) -> str:
    return "{} thread(s), {:,} rows a batch, {} inline".format(*setting)


def serve(batch: int, inline: int) -> None:
    loader.BATCH_ROWS, loader.INLINE_ROWS = batch, inline
    run(load_settings())


def table(found: Found) -> str:
    sizes = (ONE, SOME, MANY)
    lines = ["| | " + " | ".join(f"{s.name}: of built-in, CPU us" for s in sizes) + " |", "|---|---|---|---|"]
    for setting in settings():
        cells = []
        for size in sizes:
            base, this = found.of(size, told(BUILT_IN)), found.of(size, told(setting))
            cells.append(f"{ratio(this, base):.2f}, {median(this, 'cpu_us'):,.0f}")
        lines.append(f"| {told(setting)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        serve(int(sys.argv[2]), int(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--model", type=Path, default=Path("build/bench-serve"), help="kept between runs")
    given = parser.parse_args()
    bundle = trained(given.model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = replace(nearnorm(bundle, folder / "home"), forms=frozenset({"records"}))
        with running([program(base, setting) for setting in settings()]) as servers:
            found = measure(bundle, servers, given.rounds, given.seconds, folder)
    print(f"{os.cpu_count()} CPUs, load average {os.getloadavg()[1]:.1f}\n")
    print(table(found))


if __name__ == "__main__":
    main()

"""`make bench-growth`: ten million scored rows, and what the process holds meanwhile.

Requests of 1,000 rows as columns over 4 connections, with event log, metrics, policy and drift on.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.load.loads import MANY, load_of
from tests.load.servers import Server, nearnorm, running, trained
from tests.load.wrk import write_script, wrk

LOOK = 2.0  # seconds
SETTLED = 0.2
"""The part of the rows after which memory should stay: pools and the event log's queue have been filled."""


@dataclass(frozen=True)
class Look:
    seconds: float
    rows: float
    rss: float
    files: int
    threads: int


def look(server: Server, started: float) -> Look:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=30) as answer:
        found = re.search(r'^nearnorm_rows_total\{model="default"\} (\S+)', answer.read().decode(), re.M)
    process = Path(f"/proc/{server.process.pid}")
    return Look(
        time.monotonic() - started,
        float(found[1]) if found else 0.0,
        server.rss,
        len(list((process / "fd").iterdir())),
        len(list((process / "task").iterdir())),
    )


def watch(server: Server, script: Path, rows: float) -> list[Look]:
    """Looks until so many rows are scored."""
    load = load_of(MANY, "columns")
    started = time.monotonic()
    looks = [look(server, started)]
    with subprocess.Popen(wrk(load, script, server.port, 24 * 3600), stdout=subprocess.DEVNULL) as sending:
        try:
            while looks[-1].rows < rows:
                time.sleep(LOOK)
                if sending.poll() is not None or server.process.poll() is not None:
                    raise RuntimeError("the service or its load ended")
                looks.append(look(server, started))
                if sys.stderr.isatty():
                    print(f"\r{looks[-1].rows / 1e6:.1f} million rows", end="", file=sys.stderr)
        finally:
            sending.terminate()
    return looks


def growth(looks: list[Look]) -> tuple[float, float]:
    """MB a million rows once settled, by least squares, and its standard error."""
    late = [one for one in looks if one.rows >= SETTLED * looks[-1].rows]
    x = np.array([one.rows / 1e6 for one in late])
    y = np.array([one.rss for one in late])
    x = x - x.mean()
    slope = float((x * y).sum() / (x * x).sum())
    residual = y - y.mean() - slope * x
    return slope, float(np.sqrt((residual**2).sum() / max(1, len(x) - 2) / (x * x).sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=float, default=10e6)
    parser.add_argument("--model", type=Path, default=Path("build/bench-serve"), help="kept between runs")
    given = parser.parse_args()
    bundle = trained(given.model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = write_script(load_of(MANY, "columns"), folder)
        with running([nearnorm(bundle, folder / "home")]) as (server,):
            looks = watch(server, script, given.rows)
            ledger = sum(path.stat().st_size for path in (folder / "home").glob("nearnorm.db*")) / 2**20
    print(f"{os.cpu_count()} CPUs, load average {os.getloadavg()[1]:.1f}\n")
    print("| rows, millions | seconds | RSS MB | open files | threads |\n|---|---|---|---|---|")
    for wanted in np.linspace(0, looks[-1].rows, 11):
        one = min(looks, key=lambda each: abs(each.rows - wanted))
        print(f"| {one.rows / 1e6:.1f} | {one.seconds:.0f} | {one.rss:.0f} | {one.files} | {one.threads} |")
    slope, error = growth(looks)
    print(f"\nafter {SETTLED:.0%} of the rows: {slope:+.2f} MB a million rows (standard error {error:.2f})")
    print(f"the ledger's file, which keeps alerts and the audit slice: {ledger:.0f} MB")


if __name__ == "__main__":
    main()

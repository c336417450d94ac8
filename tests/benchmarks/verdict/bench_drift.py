"""`make bench-drift`: how soon a shift is reported, how seldom falsely, and what watching costs.

Shifts: one feature redrawn with a PSI of 0.2 while the others stay. False reports: rows redrawn from the
population that the reference was drawn from. Cost: /score with and without metrics and drift, in
interleaved rounds; only the ratio within a round counts.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from nearnorm.service.drift.histogram import SignalHistogram
from nearnorm.service.drift.monitor import Drift, DriftOnset
from tests.benchmarks.sets.bench_data import bench_data
from tests.benchmarks.verdict.traffic import Population, generated, known_sets, tilted
from tests.load.servers import NEARNORM, clean_environment
from tests.load.wrk import Load, run_wrk, write_script
from tests.service.reference import Codes, Traffic, core_of, scored, sized

REFERENCE = 2_000
WITHIN = 2_000
RECORD = {"f1": 45, "f2": 0, "f3": 80, "f4": 1, "f5": 40, "f6": 2, "f7": 38, "f8": 40, "f9": 2}


def reference_of(population: Population, rng: np.random.Generator, rows: int) -> Traffic:
    return population.draw(rng, min(rows, len(population.rows)))


def delays(population: Population, rng: np.random.Generator, trials: int) -> list[int | None]:
    """Rows from the shift of a feature to its report, None: not within WITHIN rows."""
    found: list[int | None] = []
    width = population.rows.numeric.shape[1]
    columns = width + population.rows.codes.shape[1]
    for trial in range(trials):
        column = trial % columns
        core = core_of(reference_of(population, rng, REFERENCE), population.categories)
        name = f"n{column}" if column < width else f"c{column - width}"
        weights = tilted(cells_of(SignalHistogram(core), name, population.rows), 0.2)
        if weights is None:
            continue
        reports: list[DriftOnset] = []
        drift = Drift(core, reports.append)
        before = 2_000 + int(rng.integers(1_000))
        drift.count(scored(population.draw(rng, before)))
        shifted = population.draw(rng, WITHIN)
        source = population.rows.take(rng.choice(len(population.rows), WITHIN, p=weights))
        if column < width:
            shifted.numeric[:, column] = source.numeric[:, column]
        else:
            shifted.codes[:, column - width] = source.codes[:, column - width]
        drift.count(scored(shifted))
        told = [r.row - before for r in reports if r.signal.name == name and r.row > before]
        found.append(told[0] if told else None)
    return found


def cells_of(cells: SignalHistogram, name: str, rows: Traffic) -> Codes:
    """[N] the cell of each row in one feature, from 0."""
    signal = next(i for i, s in enumerate(cells.signals) if s.name == name)
    return cells.places(scored(rows))[:, signal]


def false_reports(population: Population, rng: np.random.Generator, rows: int) -> tuple[int, int]:
    """Reports and rows; every 100,000 rows with a fresh reference."""
    reports: list[DriftOnset] = []
    seen = 0
    while seen < rows:
        drift = Drift(
            core_of(reference_of(population, rng, REFERENCE), population.categories), reports.append
        )
        for _ in range(10):
            drift.count(scored(population.draw(rng, 10_000)))
            seen += 10_000
    return len(reports), seen


def memory(rows: int) -> list[tuple[int, int]]:
    """Bytes that a drift holds after so many rows."""
    population, rng = generated(50_000), np.random.default_rng(1)
    drift = Drift(core_of(reference_of(population, rng, REFERENCE), population.categories), lambda _: None)
    batch = [scored(population.draw(rng, 10_000)) for _ in range(20)]
    seen, found = 0, []
    for mark in (100_000, rows // 10, rows):
        while seen < mark:
            drift.count(batch[seen // 10_000 % len(batch)])
            seen += 10_000
        found.append((seen, sized(drift)))
    return found


@contextmanager
def server(command: list[str], port: int, home: Path) -> Iterator[tuple[int, int]]:
    """Port and process id."""
    process = subprocess.Popen(
        [*command, str(port)], env=clean_environment(NEARNORM_HOME=str(home)), stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).read()
                break
            except OSError:
                time.sleep(0.05)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(30)


def cost(rounds: int, seconds: int) -> dict[str, object]:
    """Requests a second, and a second of CPU, with everything, of those without; scrapes under load, in ms.

    Where others use the machine too, a second of CPU is the fairer yardstick.
    """
    loads = [
        Load(f"{rows} rows", connections, rows, "/score", "application/json", [json.dumps(body).encode()])
        for rows, connections in ((1, 64), (32, 16))
        for body in [{"records": [RECORD] * rows}]
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scripts = {load.name: write_script(load, folder) for load in loads}
        quiet = [sys.executable, "-m", "tests.benchmarks.verdict.quiet_server"]
        ratios: dict[str, list[float]] = {load.name: [] for load in loads}
        of_cpu: dict[str, list[float]] = {load.name: [] for load in loads}
        with (
            server([NEARNORM, "serve", "--port"], 18_331, folder / "with") as full,
            server(quiet, 18_332, folder / "without") as bare,
        ):
            for number in range(rounds):
                for load in loads:
                    order = (full, bare) if number % 2 else (bare, full)
                    rate, spent = {}, {}
                    for port, pid in order:
                        before = cpu_seconds(pid)
                        rate[port] = run_wrk(load, scripts[load.name], port, seconds).rate
                        spent[port] = (cpu_seconds(pid) - before) / rate[port]
                    ratios[load.name].append(rate[full[0]] / rate[bare[0]])
                    of_cpu[load.name].append(spent[bare[0]] / spent[full[0]])
            return {
                "requests/s, of those without metrics and drift": {
                    name: round(statistics.median(found), 3) for name, found in ratios.items()
                },
                "requests a CPU second, of those without": {
                    name: round(statistics.median(found), 3) for name, found in of_cpu.items()
                },
                "rounds": {name: [round(r, 3) for r in found] for name, found in ratios.items()},
                "scrape ms under load": scrapes(full[0], loads[0], scripts[loads[0].name]),
            }


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def scrapes(port: int, load: Load, script: Path) -> dict[str, float]:
    """Percentiles of 200 scrapes while the load is on."""
    pressing = subprocess.Popen(
        ["wrk", "-t1", f"-c{load.connections}", "-d60s", f"-s{script}", f"http://127.0.0.1:{port}/score"],
        stdout=subprocess.DEVNULL,
    )
    try:
        time.sleep(1)
        taken = []
        for _ in range(200):
            started = time.perf_counter()
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read()
            taken.append((time.perf_counter() - started) * 1e3)
            time.sleep(0.02)
    finally:
        pressing.terminate()
        pressing.wait(10)
    return {f"p{q}": round(float(np.percentile(taken, q)), 2) for q in (50, 99)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=300_000, help="unshifted rows of each population")
    parser.add_argument("--generated-rows", type=int, default=3_000_000)
    parser.add_argument("--trials", type=int, default=60, help="shifts of each population")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    reports = rows = shifts = missed = 0
    print("| population | features | shifts | missed | median delay | longest | false reports | rows |")
    print("|---|---|---|---|---|---|---|---|")
    for population in (generated(), *known_sets(bench_data("data"))):
        found = delays(population, rng, given.trials)
        told = [d for d in found if d is not None]
        least = given.generated_rows if population.name == "generated" else given.rows
        false, seen = false_reports(population, rng, least)
        features = population.rows.numeric.shape[1] + len(population.categories)
        middle, longest = (f"{statistics.median(told):.0f}", str(max(told))) if told else ("-", "-")
        print(
            f"| {population.name} | {features} | {len(found)} | {len(found) - len(told)} | {middle} | "
            f"{longest} | {false} | {seen:,} |",
            flush=True,
        )
        reports, rows = reports + false, rows + seen
        shifts, missed = shifts + len(found), missed + len(found) - len(told)
    print(f"\n{missed} of {shifts} shifts missed; {reports / rows * 1e6:.2f} false reports a million rows")
    for seen, size in memory(given.generated_rows):
        print(f"after {seen:,} rows drift holds {size / 1024:.0f} KiB")
    print(json.dumps(cost(given.rounds, given.seconds), indent=1))


if __name__ == "__main__":
    main()

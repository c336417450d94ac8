"""What training on more than memory costs: `nearnorm train` on Parquet of 1, 3 and 10 million rows.

    python -m tests.benchmarks.cost.bench_lake                      # 5 GB under --folder, removed afterwards
    python -m tests.benchmarks.cost.bench_lake --rows 100000000     # 35 GB
    python -m tests.benchmarks.cost.bench_lake --engines            # reading alone: by Ray, too

Prints a table: gigabytes of Parquet, seconds of reading and of the whole command, the processor's seconds of
the command (which a busy machine stretches less), and the most memory it held; then what each further million
rows takes, and what 100 million would by that. With --engines a third of the rows are drawn, at most
1,000,000, by one process and by Ray with one and two workers.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.cost.bench_training import Cost, train
from tests.benchmarks.cost.lake_turn import LakeTurn

ROWS_OF_A_FILE = 500_000
MILLION = 1_000_000
FAR = 100
WAYS = (("process", 1), ("ray", 1), ("ray", 2))
HEADER = f"{'rows':>12} {'GB':>6} {'read s':>7} {'command s':>9} {'CPU s':>6} {'MiB':>6} {'kept':>10}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[MILLION, 3 * MILLION, 10 * MILLION])
    parser.add_argument("--folder", type=Path, help="where the data is made; else the system's for such")
    parser.add_argument("--engines", action="store_true", help="compare who reads")
    parser.add_argument("--rounds", type=int, default=3, help="of turns of --engines")
    given = parser.parse_args()
    if given.engines:
        for rows in given.rows:
            with tempfile.TemporaryDirectory(dir=given.folder) as name:
                make_lake(Path(name) / "lake", rows)
                compare_engines(Path(name) / "lake", rows, given.rounds)
        return
    print(HEADER)
    costs = []
    for rows in given.rows:
        with tempfile.TemporaryDirectory(dir=given.folder) as name:
            lake = Path(name) / "lake"
            make_lake(lake, rows)
            cost = train(lake, Path(name))
            report = json.loads((Path(name) / "bundle" / "report.json").read_bytes())
            size = sum(file.stat().st_size for file in lake.iterdir()) / 1e9
        costs.append((rows, cost, report["seconds"]["read"]))
        print(
            f"{rows:>12,} {size:>6.2f} {report['seconds']['read']:>7.1f} {cost.command_seconds:>9.1f} "
            f"{cost.cpu_seconds:>6.1f} {cost.mebibytes:>6.0f} {report['rows']['rows']:>10,}",
            flush=True,
        )
    if len(costs) > 1:
        print_slope(*costs[-2:])


def print_slope(less: tuple[int, Cost, float], more: tuple[int, Cost, float]) -> None:
    """By the last two sizes, of both of which rows are drawn."""
    millions = (more[0] - less[0]) / MILLION
    cpu = (more[1].cpu_seconds - less[1].cpu_seconds) / millions
    read = (more[2] - less[2]) / millions
    left = FAR - more[0] / MILLION
    print(
        f"each further million rows: {cpu:.2f} CPU s, {read:.1f} s of reading; {FAR} million by that: "
        f"{more[1].cpu_seconds + left * cpu:.0f} CPU s, {more[2] + left * read:.0f} s of reading"
    )


def compare_engines(lake: Path, rows: int, rounds: int) -> None:
    """Every way by turns, each turn in a process of its own; all have to keep the same rows."""
    turns: dict[tuple[str, int], list[LakeTurn]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, each in turns.items():
            each.append(read_once(*way, lake))
    if len({turn.digest for each in turns.values() for turn in each}) != 1:
        raise SystemExit("the ways did not keep the same rows")
    print(f"{rows:,} rows, a third drawn, or 1,000,000; {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    for way, each in turns.items():
        medians = {
            name: statistics.median(getattr(turn, name) for turn in each)
            for name in ("seconds", "start", "work", "driver", "memory", "workers")
        }
        pairs = zip(turns[WAYS[0]], each, strict=True)
        ratios = ", ".join(f"{one.seconds / other.seconds:.2f}" for one, other in pairs)
        print(
            f"{way[0]} {way[1]}: {rows / medians['seconds']:,.0f} rows/s (of one process, turn by turn: "
            f"{ratios}), {medians['start']:.1f} s to start; CPU {medians['work']:.1f} s, of it the command's "
            f"{medians['driver']:.1f}; {medians['memory']:.0f} MiB, a worker {medians['workers']:.0f}",
            flush=True,
        )


def read_once(way: str, workers: int, lake: Path) -> LakeTurn:
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "tests.benchmarks.cost.lake_turn",
            way,
            str(workers),
            str(lake),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
        text=True,
    )
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=LakeTurn)


def make_lake(folder: Path, rows: int) -> None:
    """36 numbers, of which every sixth has 5% missing, 3 categories and a key, in four normal groups; 1%
    anomalies, ten of them labelled."""
    folder.mkdir()
    for start in range(0, rows, ROWS_OF_A_FILE):
        rng, count = np.random.default_rng(start), min(ROWS_OF_A_FILE, rows - start)
        group = rng.integers(4, size=count)
        anomalous = rng.random(count) < 0.01
        columns: dict[str, object] = {}
        for i in range(36):
            values = rng.normal(size=count) + group * (i % 3) + 5.0 * (anomalous & (i < 5))
            columns[f"x{i}"] = pa.array(values, mask=(rng.random(count) < 0.05) if i % 6 == 0 else None)
        for i in range(3):
            columns[f"s{i}"] = rng.choice([f"c{k}" for k in range(5 * (i + 1))], count)
        columns["payment"] = [f"p-{start + row:010d}" for row in range(count)]
        known = anomalous & (np.cumsum(anomalous) <= 10) & (start == 0)
        columns["label"] = pa.array(np.ones(count), pa.int8(), mask=~known)
        pq.write_table(
            pa.table(columns), folder / f"part-{start // ROWS_OF_A_FILE:05}.parquet", row_group_size=100_000
        )


if __name__ == "__main__":
    main()

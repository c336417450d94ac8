"""What training costs: `nearnorm train` as a user runs it, on one thread.

    python -m tests.benchmarks.cost.bench_training command  # 7,000 rows; BENCH_DATA's too where it is set
    python -m tests.benchmarks.cost.bench_training scale    # 10,000 to 1,000,000 rows x 40 features

Prints a table: seconds of fitting alone and of the whole command, the processor's seconds of the command
(which a busy machine stretches less), and the most memory it held.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.sets.bench_data import bench_data

NEARNORM = str(Path(sys.executable).with_name("nearnorm"))
ROWS = 7_000
CHUNK = 100_000
HEADER = f"{'data':<24} {'rows':>9} {'features':>8} {'fit s':>7} {'command s':>9} {'CPU s':>6} {'MiB':>6}"
SCALES = (10_000, 100_000, 1_000_000)


@dataclass(frozen=True)
class Cost:
    fit_seconds: float
    command_seconds: float
    cpu_seconds: float
    mebibytes: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("command", "scale"))
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(HEADER)
        if given.what == "command":
            for source in (made(folder / "made.parquet", ROWS), *known_sets(folder)):
                print_costs(source, [train(source, folder) for _ in range(given.rounds)])
        else:
            for rows in SCALES:
                source = made(folder / f"made-{rows}.parquet", rows)
                print_costs(source, [train(source, folder)])


def print_costs(source: Path, costs: list[Cost]) -> None:
    schema = pq.read_schema(source)
    fit, command, cpu, memory = (
        statistics.median(getattr(cost, field) for cost in costs)
        for field in ("fit_seconds", "command_seconds", "cpu_seconds", "mebibytes")
    )
    rows, features = pq.read_metadata(source).num_rows, len(schema) - 1
    size = f"{source.stem:<24} {rows:>9,} {features:>8}"
    print(f"{size} {fit:>7.2f} {command:>9.1f} {cpu:>6.1f} {memory:>6.0f}", flush=True)


def train(source: Path, folder: Path) -> Cost:
    """One run of the command on one thread, in a process of its own."""
    out = folder / "bundle"
    command = [NEARNORM, "train", str(source), "--out", str(out), "--progress", "off"]
    started = time.perf_counter()
    silent = os.open(os.devnull, os.O_WRONLY)
    actions = [(os.POSIX_SPAWN_DUP2, silent, 1), (os.POSIX_SPAWN_DUP2, silent, 2)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = os.posix_spawn(NEARNORM, command, environment, file_actions=actions)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - started
    os.close(silent)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    report = json.loads((out / "report.json").read_bytes())
    cpu = usage.ru_utime + usage.ru_stime
    return Cost(report["fit_seconds"], seconds, cpu, usage.ru_maxrss / 1024)


def made(path: Path, rows: int) -> Path:
    """36 numbers and 4 categories in four normal groups, 1% anomalies, ten of them labelled."""
    rng = np.random.default_rng(0)
    writer = None
    for start in range(0, rows, CHUNK):
        count = min(CHUNK, rows - start)
        group = rng.integers(4, size=count)
        anomalous = rng.random(count) < 0.01
        columns: dict[str, object] = {}
        for i in range(36):
            columns[f"x{i}"] = rng.normal(size=count) + group * (i % 3) + 5.0 * (anomalous & (i < 5))
        for i in range(4):
            columns[f"s{i}"] = rng.choice([f"c{k}" for k in range(5 * (i + 1))], count)
        known = anomalous & (np.cumsum(anomalous) <= 10) & (start == 0)
        columns["label"] = pa.array(np.ones(count), pa.int8(), mask=~known)
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer:
        writer.close()
    return path


def known_sets(folder: Path) -> list[Path]:
    """Subsamples of BENCH_DATA's sets with and without categories, ten anomalies labelled."""
    paths: list[Path] = []
    data = bench_data("data")
    if data is None:
        return paths
    for name in ("adbench/19_landsat", "unsw_nb15/data", "iot23/data", "bank_marketing/data"):
        table = pq.read_table(data / f"{name}.parquet")
        rng = np.random.default_rng(0)
        rows = min(ROWS, len(table))
        table = table.take(np.sort(rng.choice(len(table), rows, replace=False)))
        truth = table.column("label").to_numpy()
        known = rng.permutation(np.flatnonzero(truth == 1))[:10]
        labels = pa.array(np.ones(rows), pa.int8(), mask=~np.isin(np.arange(rows), known))
        kept = [c for c in table.column_names if c not in ("label", "anomaly_class", "attack_name", "split")]
        paths.append(folder / f"{name.removesuffix('/data').removeprefix('adbench/')}.parquet")
        pq.write_table(table.select(kept).append_column("label", labels), paths[-1])
    return paths


if __name__ == "__main__":
    main()

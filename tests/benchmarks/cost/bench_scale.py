"""`make bench-scale`: rows a second of each way to score files (one process, Ray, Spark), and by topics.

Every way scores the same files by turns, each turn in a process of its own. Counted is the time after the
first quarter of the parts (in Spark, of a second job), so that starts do not count; they stand beside it.
Streamers answer the first file, whose rows were sent before.
Memory is the peak of the one process, over all files and over a quarter of them.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests import environments
from tests.benchmarks.cost.scale_turn import Turn

ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / "training" / "samples" / "shuttle_train.parquet"
NAMES = ("process", "ray", "spark", "stream")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=16)
    parser.add_argument("--rows", type=int, default=400_000, help="of a file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", action="append", choices=NAMES, help="only this one; may be given again")
    given = parser.parse_args()
    ways = [(way, workers) for way in given.way or NAMES for workers in (1, 2)]
    turns: dict[tuple[str, int], list[Turn]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        write_lake(Path(name, "lake"), given.files, given.rows)
        for i in range(given.rounds):
            for way, workers in ways:
                turn = run(way, workers, Path(name, "lake"), Path(name, f"{way}-{workers}-{i}"))
                turns[way, workers].append(turn)
                print(f"{way} {workers}: {turn.speed:,.0f} rows/s, load {os.getloadavg()[0]:.1f}", flush=True)
        write_lake(Path(name, "few"), given.files // 4, given.rows)
        few = run("process", 1, Path(name, "few"), Path(name, "out-of-few"))
        peak = run("process", 1, Path(name, "lake"), Path(name, "out-of-lake")).memory
    for (way, workers), each in turns.items():
        speeds = sorted(turn.speed for turn in each)
        print(
            f"{way} with {workers}: median {statistics.median(speeds):,.0f} rows/s ({speeds[0]:,.0f} to "
            f"{speeds[-1]:,.0f}); {statistics.median(turn.rows / turn.work for turn in each):,.0f} rows per "
            f"second of processor time; {statistics.median(turn.start for turn in each):.1f} s to start"
        )
    for way in given.way or NAMES:
        pairs = list(zip(turns[way, 1], turns[way, 2], strict=True))
        print(f"{way}, two over one, turn by turn: {', '.join(f'{b.speed / a.speed:.2f}' for a, b in pairs)}")
        if way == "ray":
            ratio = statistics.median(alone(one, two) for one, two in pairs)
            print(f"{way}, two over one where nothing else runs, by processor time: {ratio:.2f}")
    print(f"one process, peak: {few.memory:.0f} MiB over {given.files // 4} files, {peak:.0f} over all")


def alone(one: Turn, two: Turn) -> float:
    """How much faster two actors are than one on two cores that nothing else uses: one as fast as it works,
    two as all processes' work spread over two cores, or as the busier one."""
    return (one.busiest / one.rows) / max(two.work / two.rows / 2, two.busiest / two.rows)


def write_lake(folder: Path, files: int, rows: int) -> None:
    """The starter's sample again and again, its values moved a little."""
    folder.mkdir()
    sample = pq.read_table(SAMPLE).drop_columns(["label"])
    for i in range(files):
        rng = np.random.default_rng(i)
        taken = sample.take(rng.integers(0, len(sample), rows))
        moved = {name: taken[name].to_numpy() + rng.normal(0, 0.1, rows) for name in taken.column_names}
        ids = pa.array([f"{i}-{j}" for j in range(rows)])
        pq.write_table(pa.table({"id": ids, **moved}), folder / f"{i:03}.parquet")


def run(way: str, workers: int, lake: Path, out: Path) -> Turn:
    python = environments.make("spark") if way == "spark" else Path(sys.executable)
    command = ["tests.benchmarks.cost.scale_turn", way, str(workers), str(lake), str(out)]
    if way == "stream":
        command = ["tests.benchmarks.cost.scale_stream", str(workers), str(lake)]
    done = subprocess.run(
        [python, "-m", *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "SPARK_LOCAL_IP": "127.0.0.1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
        text=True,
    )
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Turn)


if __name__ == "__main__":
    main()

"""What the detector finds from a few labels, beside the peers' recorded results.

    python -m tests.benchmarks.bench_quality                       # default, k = 10, seeds 0, 1, 2
    python -m tests.benchmarks.bench_quality --presets default,paper --labels 5,10,30,100 --seeds 0
    python -m tests.benchmarks.bench_quality --parts data,data2  # more sets, families left out apart
    python -m tests.benchmarks.bench_quality --presets "default,default members=1,default mixing=false"

A preset may be followed by keys of [fit] that differ from it: so each part's worth is measured, as a
difference from the first preset. Families of sets that choices may not see have a table of their own
(families.toml); each look at it is a line of the diary.

The protocol and the peers' results are those of BENCH_DATA's `bench`; without it this says so and ends. Each
finished fit is a line of --out, and is not done again.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from nearnorm.training.fitting.fit import fit
from tests.benchmarks.bench_data import bench_data
from tests.benchmarks.left_out import is_left_out
from tests.benchmarks.protocol import config_of, data_sets, recorded, split_of, task_of
from tests.benchmarks.quality_report import OURS, Cell, differences, draw, lead, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", default="default")
    parser.add_argument("--labels", default="10")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--datasets", default="", help="comma list; empty: all")
    parser.add_argument("--parts", default="data", help="of BENCH_DATA, comma list")
    parser.add_argument("--out", type=Path, default=Path("var/quality.jsonl"))
    parser.add_argument(
        "--plot", type=Path, help="a picture of the first preset and labels, where peers have these seeds"
    )
    options = parser.parse_args()
    if bench_data("bench") is None:
        return
    torch.set_num_threads(1)
    counts = [int(count) for count in options.labels.split(",")]
    seeds = [int(seed) for seed in options.seeds.split(",")]
    only = set(filter(None, options.datasets.split(",")))
    presets = options.presets.split(",")
    parts = {name: part for part in options.parts.split(",") for name in data_sets(part)}
    names = {name: part for name, part in parts.items() if not only or name in only}
    ours = _run(options.out, presets, counts, seeds, names)
    peers = [cell for cell in _peers() if cell.dataset in names]
    for count in counts:
        cells = [c for c in [*ours, *peers] if c.labels == count and c.seed in seeds and c.dataset in names]
        for title, left_out in (("families that choices see", False), ("families left out", True)):
            part = [cell for cell in cells if is_left_out(cell.dataset) is left_out]
            if part:
                print(f"\nk = {count}, seeds {options.seeds}, {title}; methods with fewer sets are not shown")
                print("\n".join((table(part), lead(part, presets[0]), differences(part, presets[0]))))
        if options.plot is not None and count == counts[0] and any(c in cells for c in peers):
            draw(cells, presets[0], options.plot)


def _run(
    out: Path, presets: list[str], counts: list[int], seeds: list[int], parts: dict[str, str]
) -> list[Cell]:
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = out.read_text().splitlines() if out.exists() else []
    cells = [Cell(**json.loads(line)) for line in lines]
    done = {(c.dataset, c.seed, c.labels, c.method) for c in cells}
    for name, part in parts.items():
        for seed in seeds:
            for count in counts:
                todo = [p for p in presets if (name, seed, count, OURS + p) not in done]
                task = task_of(name, count, seed, part) if todo else None
                for preset in todo if task else []:
                    cell = _fit(task, name, seed, count, preset)
                    cells.append(cell)
                    with out.open("a") as file:
                        file.write(json.dumps(asdict(cell)) + "\n")
                    print(
                        f"{name:<34} k={count:<3} seed {seed} {preset:<8} "
                        f"AP {cell.average_precision:.3f}  {cell.fit_seconds:.1f} s",
                        file=sys.stderr,
                    )
    return [c for c in cells if c.method.removeprefix(OURS) in presets]


def _fit(task: Any, name: str, seed: int, count: int, preset: str) -> Cell:
    split = split_of(task)
    fitted = fit(split.training, config_of(preset), seed=seed)
    return Cell(name, seed, count, OURS + preset, split.tested(fitted.detector), fitted.fit_seconds)


def _peers() -> Iterable[Cell]:
    for row in recorded():
        protocol, _, count = row["protocol"].partition(":")
        if row["status"] == "ok" and protocol == "H":
            yield Cell(
                row["dataset"], row["seed"], int(count), row["method"], row["auc_pr"], row["fit_seconds"]
            )


if __name__ == "__main__":
    main()

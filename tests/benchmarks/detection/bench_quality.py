"""What the detector finds from a few labels, beside the peers' recorded results.

    python -m tests.benchmarks.detection.bench_quality  # default, k = 10, seeds 0, 1, 2
    python -m tests.benchmarks.detection.bench_quality --presets default,paper --labels 5,10,30,100 --seeds 0
    python -m tests.benchmarks.detection.bench_quality --parts data,data2  # families left out apart
    python -m tests.benchmarks.detection.bench_quality --peers --labels 1,3,all  # fits peers without a record
    python -m tests.benchmarks.detection.bench_quality --prototypes-worth --labels 1,3,5,10,30,100
    python -m tests.benchmarks.detection.bench_quality --presets "default,default members=1"

A preset may be followed by keys of [fit] that differ from it: so each part's worth is measured, as a
difference from the first preset. Families of sets that choices may not see have a table of their own
(families.toml); each look at it is a line of the diary. `--labels all`: every anomaly of the training part
has a label.

The protocol and the peers' results are those of BENCH_DATA's `bench`; without it this says so and ends. Each
finished fit is a line of --out, and is not done again.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from nearnorm.training.fitting.fit import fit
from tests.benchmarks.detection.peers import PEERS, fit_peer
from tests.benchmarks.detection.prototypes_worth import evidence_taken_out
from tests.benchmarks.detection.quality_report import (
    OURS,
    Cell,
    differences,
    draw,
    lead,
    table,
    whole_methods,
)
from tests.benchmarks.sets.bench_data import bench_data
from tests.benchmarks.sets.left_out import is_left_out
from tests.benchmarks.sets.protocol import ALL, config_of, data_sets, recorded, split_of, task_of

BLIND = " without r and q*"
"""After a preset: neither its head nor its trees see them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", default="default")
    parser.add_argument("--labels", default="10", help="numbers, or `all`: comma list")
    parser.add_argument(
        "--prototypes-worth", action="store_true", help="the first preset without r and q*, too"
    )
    parser.add_argument("--peers", action="store_true", help="fit the peers where no result is recorded")
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
    counts = [ALL if count == "all" else int(count) for count in options.labels.split(",")]
    seeds = [int(seed) for seed in options.seeds.split(",")]
    only = set(filter(None, options.datasets.split(",")))
    presets = options.presets.split(",")
    parts = {name: part for part in options.parts.split(",") for name in data_sets(part)}
    names = {name: part for name, part in parts.items() if not only or name in only}
    if options.prototypes_worth:
        presets.append(presets[0] + BLIND)
    methods = [OURS + preset for preset in presets] + list(PEERS if options.peers else ())
    cells = _run(options.out, methods, counts, seeds, names)
    for count in counts:
        found = [cell for cell in cells if cell.labels == count]
        for title, left_out in (("families that choices see", False), ("families left out", True)):
            part = [cell for cell in found if is_left_out(cell.dataset) is left_out]
            if part:
                told = f"k = {count}" if count else "all anomalies labelled"
                print(f"\n{told}, seeds {options.seeds}, {title}; methods with fewer sets are not shown")
                print("\n".join((table(part), lead(part, presets[0]), differences(part, presets[0]))))
        if options.plot is not None and count == counts[0] and len(whole_methods(found)) > len(presets):
            draw(found, presets[0], options.plot)


def _run(
    out: Path, methods: list[str], counts: list[int], seeds: list[int], parts: dict[str, str]
) -> list[Cell]:
    """What is recorded of these sets and seeds; what is not is fitted, and added to `out`."""
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = out.read_text().splitlines() if out.exists() else []
    cells = [*_recorded(), *(Cell(**json.loads(line)) for line in lines)]
    done = {(c.dataset, c.seed, c.labels, c.method) for c in cells}
    for name, part in parts.items():
        for seed in seeds:
            for count in counts:
                todo = [method for method in methods if (name, seed, count, method) not in done]
                task = task_of(name, count, seed, part) if todo else None
                for method in todo if task else []:
                    cell = Cell(name, seed, count, method, *_fit(method, task))
                    cells.append(cell)
                    with out.open("a") as file:
                        file.write(json.dumps(asdict(cell)) + "\n")
                    print(
                        f"{name:<34} k={count:<3} seed {seed} {method:<18} "
                        f"AP {cell.average_precision:.3f}  {cell.fit_seconds:.1f} s",
                        file=sys.stderr,
                    )
    wanted = [cell for cell in cells if cell.dataset in parts and cell.seed in seeds]
    return [cell for cell in wanted if cell.method in methods or not cell.method.startswith(OURS)]


def _fit(method: str, task: Any) -> tuple[float, float]:
    """Average precision on the test part, and the seconds of the fit."""
    if not method.startswith(OURS):
        return fit_peer(method, task)
    split, preset = split_of(task), method.removeprefix(OURS)
    with evidence_taken_out() if preset.endswith(BLIND) else nullcontext():
        fitted = fit(split.training, config_of(preset.removesuffix(BLIND)), seed=task.seed)
        return split.tested(fitted.detector), fitted.fit_seconds


def _recorded() -> Iterable[Cell]:
    for row in recorded():
        protocol, _, count = row["protocol"].partition(":")
        if row["status"] == "ok" and protocol == "H":
            yield Cell(
                row["dataset"], row["seed"], int(count), row["method"], row["auc_pr"], row["fit_seconds"]
            )


if __name__ == "__main__":
    main()

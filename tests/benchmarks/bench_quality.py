"""What the detector finds from a few labels, beside the peers' recorded results.

    python -m tests.benchmarks.bench_quality                       # default, k = 10, seeds 0, 1, 2
    python -m tests.benchmarks.bench_quality --presets default,paper --labels 5,10,30 --seeds 0
    python -m tests.benchmarks.bench_quality --presets "default,default members=1,default mixing=false"

A preset may be followed by keys of [fit] that differ from it: so each part's worth is measured.

The protocol and the peers' results are those of ../shared/bench; without it this says so and ends. Each
finished fit is a line of --out, and is not done again.
"""

import argparse
import importlib
import json
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import average_precision_score

from training.calibrate import score
from training.config import FitConfig
from training.data import load, load_labelled
from training.fit import TrainingSet, fit

SHARED = Path(__file__).parents[3] / "shared"
FAMILIES = ("ADBench", "unsw_nb15", "iot23")
HEADER = (
    f"{'method':<34}{'mean AP':>9}"
    + "".join(f"{family:>11}" for family in FAMILIES)
    + (f"{'mean rank':>11}{'spread':>9}{'fit s':>8}")
)


@dataclass(frozen=True)
class Cell:
    """One fit: a data set, a seed, a number of labelled anomalies, a method, and what came of it."""

    dataset: str
    seed: int
    labels: int
    method: str
    average_precision: float
    fit_seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", default="default")
    parser.add_argument("--labels", default="10")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--datasets", default="", help="comma list; empty: all")
    parser.add_argument("--out", type=Path, default=Path("var/quality.jsonl"))
    options = parser.parse_args()
    if not (SHARED / "bench").is_dir():
        print("skipped: ../shared/bench, which holds the protocol and the peers' results, is absent")
        return
    torch.set_num_threads(1)
    counts = [int(count) for count in options.labels.split(",")]
    seeds = [int(seed) for seed in options.seeds.split(",")]
    only = set(filter(None, options.datasets.split(",")))
    ours = _run(options.out, options.presets.split(","), counts, seeds, only)
    peers = [cell for cell in _peers() if not only or cell.dataset in only]
    for count in counts:
        cells = [c for c in [*ours, *peers] if c.labels == count and c.seed in seeds]
        _print_table(count, seeds, cells)


def _run(out: Path, presets: list[str], counts: list[int], seeds: list[int], only: set[str]) -> list[Cell]:
    sys.path.insert(0, str(SHARED / "bench"))
    protocol = importlib.import_module("wsad_data")
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = out.read_text().splitlines() if out.exists() else []
    cells = [Cell(**json.loads(line)) for line in lines]
    done = {(c.dataset, c.seed, c.labels, c.method) for c in cells}
    for name in sorted(only) or protocol.list_datasets(SHARED / "data"):
        for seed in seeds:
            for count in counts:
                todo = [p for p in presets if (name, seed, count, f"nearnorm {p}") not in done]
                task = protocol.make_task(SHARED / "data", name, f"H:{count}", seed) if todo else None
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
    return [c for c in cells if c.method.removeprefix("nearnorm ") in presets]


def _fit(task: Any, name: str, seed: int, count: int, preset: str) -> Cell:
    with tempfile.TemporaryDirectory() as folder:
        train, test = os.path.join(folder, "train.parquet"), os.path.join(folder, "test.parquet")
        known = np.where(task.y_semi == 1, 1.0, np.nan)
        task.frame_train.assign(label=known).to_parquet(train)
        task.frame_test.assign(label=task.y_test).to_parquet(test)
        data = load(train, "label")
        arrays, truth = load_labelled(test, "label", data.schema)
    training_set = TrainingSet(data.numeric, data.codes, data.cardinalities, data.labels)
    name_of_preset, *changes = preset.split()
    config = FitConfig.model_validate(
        {"preset": name_of_preset, **dict(change.split("=", 1) for change in changes)}
    )
    fitted = fit(training_set, config, seed=seed)
    scores = score(fitted.detector, arrays.numeric, arrays.codes).score
    found = float(average_precision_score(truth, scores))
    return Cell(name, seed, count, f"nearnorm {preset}", found, fitted.fit_seconds)


def _peers() -> Iterable[Cell]:
    for path in sorted((SHARED / "bench" / "results").glob("*.jsonl")):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            if row["status"] == "ok":
                count = int(row["protocol"].removeprefix("H:"))
                yield Cell(
                    row["dataset"], row["seed"], count, row["method"], row["auc_pr"], row["fit_seconds"]
                )


def _family(dataset: str) -> str:
    return next((family for family in FAMILIES[1:] if dataset.startswith(family)), FAMILIES[0])


def _print_table(count: int, seeds: list[int], cells: list[Cell]) -> None:
    """Means over the sets and seeds that a method has all of; ranks of means over the seeds."""
    by_method: dict[str, dict[tuple[str, int], Cell]] = defaultdict(dict)
    for cell in cells:
        by_method[cell.method][cell.dataset, cell.seed] = cell
    most = max((len(found) for found in by_method.values()), default=0)
    whole = {method: found for method, found in by_method.items() if len(found) == most}
    names = sorted({cell.dataset for found in whole.values() for cell in found.values()})
    means = {
        method: [
            float(np.mean([c.average_precision for c in found.values() if c.dataset == name]))
            for name in names
        ]
        for method, found in whole.items()
    }
    print(f"\nk = {count}, seeds {seeds}, {len(names)} sets; methods with fewer cells are left out\n{HEADER}")
    for method in sorted(means, key=lambda method: -float(np.mean(means[method]))):
        ranks = [1 + sum(other[i] > means[method][i] for other in means.values()) for i in range(len(names))]
        row = f"{method:<34}{np.mean(means[method]):>9.3f}"
        for family in FAMILIES:
            inside = [
                mean for mean, name in zip(means[method], names, strict=True) if _family(name) == family
            ]
            row += f"{np.mean(inside):>11.3f}" if inside else f"{'-':>11}"
        by_seed = [
            np.mean([c.average_precision for c in whole[method].values() if c.seed == seed]) for seed in seeds
        ]
        seconds = np.mean([c.fit_seconds for c in whole[method].values()])
        print(row + f"{np.mean(ranks):>11.2f}{np.std(by_seed):>9.3f}{seconds:>8.2f}")


if __name__ == "__main__":
    main()

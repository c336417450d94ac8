"""What the verdict benchmarks measure on: one trained model a data set and seed, with the truth beside it.

Each cell is trained as `nearnorm train` would, with ten labelled anomalies; its scores are kept in --out, so
that a rule can be tried on all of them in seconds. The truth is known to the benchmark alone.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch

from nearnorm.training.dataset.load import split
from nearnorm.training.evaluation.calibrate import score
from nearnorm.training.evaluation.crossfit import cross_fit
from nearnorm.training.evaluation.training_rows import training_rows
from nearnorm.training.fitting.fit import fit
from nearnorm.training.method.config import FitConfig
from tests.benchmarks.sets.protocol import data_sets, split_of, task_of

LABELS = 10


@dataclass(frozen=True)
class Verdicts:
    """One cell. `reference` [R] and `test` [T] are scores of held-out and of test rows, `..._truth` is true
    for an anomaly; `crossed` [L] are ranks of the labelled anomalies among `crossed_reference` [2, R], by
    fits that left them out."""

    reference: np.ndarray
    reference_truth: np.ndarray
    test: np.ndarray
    test_truth: np.ndarray
    crossed: np.ndarray
    crossed_reference: np.ndarray


def cells(out: Path, seeds: Sequence[int]) -> Iterator[tuple[str, int, Verdicts]]:
    """Every data set and seed; those that are not in `out` yet are trained."""
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for seed in seeds:
        for part in ("data", "data2"):
            for name in data_sets(part):
                path = out / f"{part}-{name.replace(':', '-')}-{seed}.npz"
                if not path.exists():
                    found = _trained(part, name, seed)
                    if found is None:
                        continue
                    with path.open("wb") as file:
                        np.savez(file, **{f.name: getattr(found, f.name) for f in fields(found)})
                    print(f"{name} seed {seed}", file=sys.stderr)
                with np.load(path) as kept:
                    yield name, seed, Verdicts(**kept)


def _trained(part: str, name: str, seed: int) -> Verdicts | None:
    task = task_of(name, LABELS, seed, part)
    if task is None:
        return None
    read = split_of(task)
    data = read.data
    rows = split(data, seed)
    config = FitConfig(preset="default")
    kept = training_rows(data, rows.fit, data.labels[rows.fit])
    detector = fit(kept, config, seed=seed).detector
    crossed = cross_fit(data, rows, config, seed)
    return Verdicts(
        score(detector, data.numeric[rows.reference], data.codes[rows.reference]).score,
        read.hidden[rows.reference] == 1,
        score(detector, read.numeric, read.codes).score,
        read.truth == 1,
        crossed.rank,
        crossed.reference_rank,
    )

"""The protocol of BENCH_DATA's `bench`, through the product's own reading of files.

k labelled anomalies, everything else of the training part unlabelled, no labelled validation rows.
"""

import importlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score

from nearnorm.training.dataset.load import Dataset, load, load_labelled
from nearnorm.training.evaluation.calibrate import score
from nearnorm.training.evaluation.training_rows import training_rows
from nearnorm.training.fitting.fit import TrainingSet
from nearnorm.training.method.config import FitConfig
from nearnorm.training.method.network import Detector
from tests.benchmarks.sets.bench_data import bench_data

ALL = 0
"""Stands for a number of labels: every anomaly of the training part has one."""
FAMILIES = ("ADBench", "unsw_nb15", "iot23")


@dataclass(frozen=True)
class Split:
    """One data set, seed and number of labels: the training part as it was read, and as a fit takes it.
    `hidden` [N] has what the labels do not tell: 1 is an anomaly. Test rows `numeric`, `codes`, and their
    `truth`."""

    data: Dataset
    training: TrainingSet
    hidden: np.ndarray
    numeric: np.ndarray
    codes: np.ndarray
    truth: np.ndarray

    def only(self, rows: np.ndarray) -> TrainingSet:
        """The training rows of these numbers."""
        whole = self.training
        return replace(whole, numeric=whole.numeric[rows], codes=whole.codes[rows], labels=whole.labels[rows])

    def tested(self, detector: Detector) -> float:
        """Average precision of a detector's scores."""
        return self.average_precision(score(detector, self.numeric, self.codes).score)

    def average_precision(self, scores: np.ndarray) -> float:
        return float(average_precision_score(self.truth, scores))


@cache
def data_sets(part: str = "data") -> list[str]:
    names: list[str] = of_bench("wsad_data").list_datasets(bench_part(part))
    return names


def task_of(name: str, labels: int, seed: int, part: str = "data") -> Any:
    """The protocol's task; None where the set has too few anomalies. Labels may be ALL."""
    task = of_bench("wsad_data").make_task(bench_part(part), name, f"H:{labels or 1}", seed)
    if task is not None and labels == ALL:
        task.y_semi = task.y_hidden.copy()
    return task


def split_of(task: Any, test: Any = None) -> Split:
    """A task as the product reads it, with the test part of task `test` where that is another's."""
    test = task if test is None else test
    with tempfile.TemporaryDirectory() as folder:
        train_file, test_file = os.path.join(folder, "train.parquet"), os.path.join(folder, "test.parquet")
        known = np.where(task.y_semi == 1, 1.0, np.nan)
        task.frame_train.assign(label=known).to_parquet(train_file)
        test.frame_test.assign(label=test.y_test).to_parquet(test_file)
        data = load(train_file, "label")
        arrays, truth = load_labelled(test_file, "label", data.schema)
    training = training_rows(data, np.arange(len(data.labels)), data.labels)
    return Split(data, training, task.y_hidden, arrays.numeric, arrays.codes, truth)


def config_of(preset: str) -> FitConfig:
    """A preset's name, and keys of [fit] that differ from it: `default members=1`."""
    name, *changes = preset.split()
    return FitConfig.model_validate({"preset": name, **dict(change.split("=", 1) for change in changes)})


def family_of(name: str) -> str:
    return next((family for family in FAMILIES[1:] if name.startswith(family)), FAMILIES[0])


def by_family(found: Mapping[str, float]) -> dict[str, float]:
    """Of figures by data set: the mean of all, then of each family that has any."""
    means = {"all": float(np.mean(list(found.values())))}
    for family in FAMILIES:
        inside = [figure for name, figure in found.items() if family_of(name) == family]
        if inside:
            means[family] = float(np.mean(inside))
    return means


def recorded() -> Iterator[dict[str, Any]]:
    """The peers' results, one a data set, seed, number of labels and method."""
    for path in sorted((bench_part("bench") / "results").glob("*.jsonl")):
        yield from map(json.loads, path.read_text().splitlines())


def of_bench(module: str) -> Any:
    """A module of BENCH_DATA's `bench`."""
    sys.path.insert(0, str(bench_part("bench")))
    try:
        return importlib.import_module(module)
    finally:
        sys.path.pop(0)


def bench_part(part: str) -> Path:
    """The folder of one part; ends the program, which has said why, where it is not there."""
    folder = bench_data(part)
    if folder is None:
        raise SystemExit(0)
    return folder

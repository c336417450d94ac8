"""`make bench-normals`: what 40 confirmed normals are worth, to us and to peers that are given the same ones.

    python -m tests.benchmarks.detection.bench_normals --parts data,data2  # families that choices may see
    python -m tests.benchmarks.detection.bench_normals --parts data,data2 --left-out  # a line of the diary

Ten anomalies are labelled, and normals come to be confirmed in one of three ways:

    random    any normal rows
    alerts    the rows that a first model ranks highest are looked at until 40 were found normal, and nobody
              tells of the anomalies among them
    verdicts  the same, and the anomalies that were found are labelled too, as the loop does; held against a
              fit on those anomalies without the normals (`found`)

A peer's confirmed normals weigh as much as 10 or 100 unlabelled rows each, or all of them as much as all
unlabelled rows (`even`); compared is the best weight for each way, chosen on the figures that are shown.

Each finished fit is a line of --out, and is not done again.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import ExtraTreesClassifier

from nearnorm.training.evaluation.calibrate import score
from nearnorm.training.fitting.fit import fit
from nearnorm.training.method.network import Detector
from tests.benchmarks.detection.peers import cat_boost
from tests.benchmarks.sets.bench_data import bench_data
from tests.benchmarks.sets.left_out import is_left_out
from tests.benchmarks.sets.protocol import Split, config_of, data_sets, split_of, task_of

NORMALS = 40
WITHOUT = {"random": "none", "alerts": "none", "verdicts": "found"}
"""Each way, and the same without the normals."""
WAYS = ("none", "random", "alerts", "found", "verdicts")
OURS = "nearnorm"
WEIGHTS = {"10": 10.0, "100": 100.0, "even": None}


@dataclass(frozen=True)
class Cell:
    """One fit: a data set, a seed, how its labels came, a method, and what came of it."""

    dataset: str
    seed: int
    way: str
    method: str
    average_precision: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--preset", default="default", help="keys of [fit] that differ may follow")
    parser.add_argument("--labels", type=int, default=10)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--datasets", default="", help="comma list; empty: all")
    parser.add_argument("--parts", default="data", help="of BENCH_DATA, comma list")
    parser.add_argument("--left-out", action="store_true", help="the families that choices may not see")
    parser.add_argument("--out", type=Path, default=Path("var/normals.jsonl"))
    options = parser.parse_args()
    if bench_data("bench") is None:
        return
    if len(PEERS) == 1:
        print("catboost is not installed: left out", file=sys.stderr)
    torch.set_num_threads(1)
    only = set(filter(None, options.datasets.split(",")))
    names = {
        name: part
        for part in options.parts.split(",")
        for name in data_sets(part)
        if is_left_out(name) is options.left_out and (not only or name in only)
    }
    seeds = [int(seed) for seed in options.seeds.split(",")]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    cells = [Cell(**json.loads(line)) for line in lines]
    done = {(cell.dataset, cell.seed, cell.way, cell.method) for cell in cells}
    for name, part in names.items():
        for seed in seeds:
            task = task_of(name, options.labels, seed, part)
            for cell in _cells(task, name, seed, options.preset, done) if task else ():
                cells.append(cell)
                with options.out.open("a") as file:
                    file.write(json.dumps(asdict(cell)) + "\n")
                print(name, seed, cell.way, cell.method, f"{cell.average_precision:.3f}", file=sys.stderr)
    print(table([cell for cell in cells if cell.dataset in names and cell.seed in seeds]))


class Labelling:
    """How one split's labels come to be."""

    def __init__(self, split: Split, preset: str, seed: int) -> None:
        self.split, self.preset, self.seed = split, preset, seed

    @cached_property
    def first(self) -> Detector:
        """The model that ranks what is looked at."""
        return fit(self.split.training, config_of(self.preset), seed=self.seed).detector

    @cached_property
    def reviewed(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the unlabelled rows that were looked at: normals and anomalies."""
        rows, hidden = self.split.training, self.split.hidden
        unlabelled = np.flatnonzero(rows.labels == -1)
        ranked = score(self.first, rows.numeric, rows.codes).score[unlabelled]
        order = unlabelled[np.argsort(-ranked, kind="stable")]
        seen = order[: np.searchsorted((hidden[order] == 0).cumsum(), NORMALS) + 1]
        return seen[hidden[seen] == 0], seen[hidden[seen] == 1]

    def labels(self, way: str) -> np.ndarray:
        """Of the training rows, [N]: 1, 0, -1."""
        labels = self.split.training.labels.copy()
        if way == "random":
            normal = np.flatnonzero((labels == -1) & (self.split.hidden == 0))
            labels[np.random.default_rng([self.seed, NORMALS]).permutation(normal)[:NORMALS]] = 0
        if way in {"alerts", "verdicts"}:
            labels[self.reviewed[0]] = 0
        if way in {"found", "verdicts"}:
            labels[self.reviewed[1]] = 1
        return labels

    def fitted(self, way: str) -> Detector:
        if way == "none":
            return self.first
        training = replace(self.split.training, labels=self.labels(way))
        return fit(training, config_of(self.preset), seed=self.seed).detector


def _cells(
    task: Any, name: str, seed: int, preset: str, done: set[tuple[str, int, str, str]]
) -> Iterator[Cell]:
    """What is not done yet."""
    split = split_of(task)
    labelling = Labelling(split, preset, seed)
    for way in WAYS:
        if (name, seed, way, OURS) not in done:
            yield Cell(name, seed, way, OURS, split.tested(labelling.fitted(way)))
        for peer, ranks in PEERS.items():
            for weight, value in WEIGHTS.items() if way in WITHOUT else [("", 1.0)]:
                method = f"{peer} {weight}".rstrip()
                if (name, seed, way, method) not in done:
                    labels = labelling.labels(way)
                    ranked = ranks(task.X_train, labels == 1, weights_of(labels, value), task.X_test, seed)
                    yield Cell(name, seed, way, method, split.average_precision(ranked))


def weights_of(labels: np.ndarray, value: float | None) -> np.ndarray:
    """Of each training row, [N]; None: confirmed normals weigh together as much as all unlabelled rows."""
    weights = np.ones(len(labels))
    confirmed = labels == 0
    weights[confirmed] = (labels == -1).sum() / max(confirmed.sum(), 1) if value is None else value
    return weights


def extra_trees(
    rows: np.ndarray, anomalous: np.ndarray, weights: np.ndarray, test: np.ndarray, seed: int
) -> np.ndarray:
    peer = ExtraTreesClassifier(
        300,
        class_weight="balanced_subsample",
        bootstrap=True,
        min_samples_leaf=2,
        random_state=seed,
        n_jobs=1,
    )
    return np.asarray(peer.fit(rows, anomalous, sample_weight=weights).predict_proba(test)[:, 1])


def boosted(
    rows: np.ndarray, anomalous: np.ndarray, weights: np.ndarray, test: np.ndarray, seed: int
) -> np.ndarray:
    peer = cat_boost(seed).fit(rows, anomalous.astype(int), sample_weight=weights)
    return np.asarray(peer.predict(test, prediction_type="RawFormulaVal"))


PEERS = {"PU ExtraTrees": extra_trees} | ({"PU CatBoost": boosted} if find_spec("catboost") else {})


def table(cells: list[Cell]) -> str:
    """What the normals bring each method, and our lead over the best peer: paired over sets and seeds."""
    found: dict[tuple[str, str], dict[tuple[str, int], float]] = defaultdict(dict)
    for cell in cells:
        found[cell.way, cell.method][cell.dataset, cell.seed] = cell.average_precision
    keys = sorted(found["none", OURS])
    figures = {at: np.array([mine[key] for key in keys]) for at, mine in found.items()}
    lines = [f"{len(keys)} sets and seeds", "| normals | method | mean AP | without | what they bring |"]
    lines.append("|---|---|---|---|---|")
    leads = []
    for way, before in WITHOUT.items():
        gains = {}
        for (other, method), mine in figures.items():
            if other == way:
                plain = figures[before, OURS if method == OURS else method.rsplit(" ", 1)[0]]
                gains[method] = mine, mine - plain
                lines.append(
                    f"| {way} | {method} | {mine.mean():.3f} | {plain.mean():.3f} | {told(mine - plain)} |"
                )
        mine, gain = gains.pop(OURS)
        best = max(gains, key=lambda method: gains[method][0].mean())
        first = max((figures[before, peer] for peer in PEERS), key=lambda peer: peer.mean())
        leads.append(
            f"{way}: lead {told(figures[before, OURS] - first)} without, {told(mine - gains[best][0])} with "
            f"the normals (over {best}), whose gain is {told(gains[best][1])}; ours less that "
            f"{told(gain - gains[best][1])}"
        )
    return "\n".join(lines + leads)


def told(differences: np.ndarray) -> str:
    """Mean and standard error."""
    return f"{differences.mean():+.3f} ± {differences.std() / max(len(differences) - 1, 1) ** 0.5:.3f}"


if __name__ == "__main__":
    main()

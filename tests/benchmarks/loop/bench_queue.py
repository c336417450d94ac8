"""Which mix of the queue finds most? The loop of bench_loop without HTTP, gate and export: fit and rank.

In each round the strangest, those beside the threshold and random rows are reviewed in the shares of a
mix, and the detector is fitted anew with the verdicts, on the same rows as the product's retraining: what it
holds out for its reference is held out here too. Prints the anomalies found after each round.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from nearnorm.models.retraining import Verdict
from nearnorm.training.dataset.load import load as load_base
from nearnorm.training.dataset.load import split
from nearnorm.training.evaluation.calibrate import score
from nearnorm.training.evaluation.training_rows import training_rows
from nearnorm.training.fitting.fit import TrainingSet, fit
from nearnorm.training.loop.snapshot import convert, take
from nearnorm.training.method.config import FitConfig
from tests.benchmarks.loop.pools import SETS, Pool, load
from tests.benchmarks.loop.rivals import by_model, isolation, positive_unlabelled, trees
from tests.benchmarks.sets.bench_data import bench_data

MIXES = {"60/20/20": (12, 4, 4), "80/10/10": (16, 2, 2), "90/5/5": (18, 1, 1), "100/0/0": (20, 0, 0)}
BUDGET = 0.02


class Learner:
    """Our detector on a pool: first on base rows alone, then on what a retraining would read."""

    def __init__(self, pool: Pool, seed: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self.base = load_base(pool.write_base(Path(folder)), "label")
        self.records = pool.traffic.to_pylist()
        self.traffic = convert(self.records, self.base.schema)
        self.seed = seed

    def training_set(self, verdicts: np.ndarray) -> TrainingSet:
        """The rows that a retraining fits on, by verdicts [T] on traffic: 1, 0 or -1."""
        told = [
            Verdict(f"{i}", f"{i}", bool(verdicts[i] == 1), self.records[i], 1.0, False)
            for i in np.flatnonzero(verdicts >= 0).tolist()
        ]
        data = take(self.base, self.records, told).data if told else self.base
        rows = split(data, self.seed).fit
        return training_rows(data, rows, data.labels[rows])

    def rank(self, verdicts: np.ndarray) -> np.ndarray:
        """Scores [T] of traffic after fitting with verdicts [T]."""
        fitted = fit(self.training_set(verdicts), FitConfig.preset_of("default"), seed=self.seed)
        return score(fitted.detector, self.traffic.numeric, self.traffic.codes).score


def simulate(pool: Pool, rounds: int, mix: tuple[int, int, int], seed: int) -> list[int]:
    learner = Learner(pool, seed)
    rng = np.random.default_rng(seed)
    verdicts = np.full(len(pool.truth), -1)
    found = []
    for _ in range(rounds):
        scores = learner.rank(verdicts)
        left = np.flatnonzero(verdicts == -1)
        order = left[np.argsort(-scores[left], kind="stable")]
        top = order[: mix[0]]
        beside = int(BUDGET * len(scores))
        near = order[np.argsort(np.abs(np.arange(len(order)) - beside), kind="stable")]
        chosen = [*top, *[i for i in near if i not in set(top)][: mix[1]]]
        others = np.setdiff1d(left, chosen)
        chosen += rng.choice(others, min(mix[2], len(others)), replace=False).tolist()
        verdicts[chosen] = pool.truth[chosen]
        found.append(int((verdicts == 1).sum()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sets", nargs="*", default=SETS)
    parser.add_argument("--mixes", nargs="*", default=list(MIXES))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    data = bench_data("data")
    if data is None:
        return
    for name in given.sets:
        pool = load(data, name, given.seed)
        row: dict[str, Any] = {"set": name, "rows": len(pool.truth), "anomalies": int(pool.truth.sum())}
        row |= {mix: simulate(pool, given.rounds, MIXES[mix], given.seed) for mix in given.mixes}
        size = sum(MIXES["100/0/0"])
        row["PU ExtraTrees"] = by_model(pool, given.rounds, size, positive_unlabelled(trees), True)
        row["isolation forest"] = by_model(pool, given.rounds, size, isolation, False)
        learner = Learner(pool, given.seed)
        first = learner.rank(np.full(len(pool.truth), -1))
        truth = pool.truth[np.argsort(-first, kind="stable")].cumsum()
        row["no learning"] = [int(truth[min(size * (n + 1), len(truth)) - 1]) for n in range(given.rounds)]
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()

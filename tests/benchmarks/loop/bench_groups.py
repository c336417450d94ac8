"""How many records of a group should teach: none, one, 1 + log2(n), or all of them?

    python -m tests.benchmarks.loop.bench_groups

Of each pool (pools.py) an anomaly of the traffic and the 23 nearest to it by numbers are labelled as a group,
ten others and ten normals one by one. Prints the average precision on the rest of the traffic, by how many of
the group train; those that do not are left out of the training.
"""

import argparse
from pathlib import Path

import numpy as np

from nearnorm.models.retraining import Verdict
from nearnorm.training.dataset.load import split
from nearnorm.training.evaluation.calibrate import score
from nearnorm.training.evaluation.training_rows import training_rows
from nearnorm.training.fitting.fit import fit
from nearnorm.training.loop.gate import average_precisions
from nearnorm.training.loop.groups import teaching
from nearnorm.training.loop.snapshot import take
from nearnorm.training.method.config import FitConfig
from tests.benchmarks.loop.bench_queue import Learner
from tests.benchmarks.loop.pools import SETS, Pool, load
from tests.benchmarks.sets.bench_data import bench_data

SIZE, SINGLE = 24, 10
TEACH = (0, 1, teaching(SIZE), SIZE)
FEWEST = SIZE + SINGLE


def compare(pool: Pool, seed: int) -> list[float]:
    """Average precision for each of TEACH."""
    learner, rng = Learner(pool, seed), np.random.default_rng(seed)
    numbers = np.nan_to_num(learner.traffic.numeric)
    rows = (numbers - numbers.mean(axis=0)) / (numbers.std(axis=0) + 1e-9)
    anomalies, normals = np.flatnonzero(pool.truth == 1), np.flatnonzero(pool.truth == 0)
    distance = ((rows[anomalies] - rows[rng.choice(anomalies)]) ** 2).sum(axis=1)
    group = anomalies[np.argsort(distance)[:SIZE]]
    others = rng.choice(np.setdiff1d(anomalies, group), SINGLE, replace=False)
    labelled = np.concatenate([group, others, rng.choice(normals, SINGLE, replace=False)])
    rest = np.setdiff1d(np.arange(len(pool.truth)), labelled)
    said = [
        Verdict(f"{i}", f"{i}", bool(pool.truth[i] == 1), learner.records[i], 1.0, False)
        for i in labelled.tolist()
    ]
    snapshot = take(learner.base, learner.records, said)
    order = snapshot.place[: len(group)][np.random.default_rng(1).permutation(len(group))]
    found = []
    for count in TEACH:
        kept = np.setdiff1d(split(snapshot.data, seed).fit, order[count:])
        training = training_rows(snapshot.data, kept, snapshot.data.labels[kept])
        fitted = fit(training, FitConfig.preset_of("default"), seed=seed)
        scores = score(fitted.detector, learner.traffic.numeric, learner.traffic.codes).score[rest]
        ones = np.ones((1, len(rest)))
        found.append(float(average_precisions(scores, (pool.truth[rest] == 1).astype(int), ones)[0]))
    return found


def main(data: Path, seeds: int) -> None:
    print("set", "seed", *(f"{count} teach" for count in TEACH), sep="\t")
    every = []
    for seed in range(seeds):
        for name in SETS:
            pool = load(data, name, seed)
            if int((pool.truth == 1).sum()) < FEWEST:
                continue
            every.append(compare(pool, seed))
            print(name, seed, *(f"{x:.3f}" for x in every[-1]), sep="\t", flush=True)
    print("mean", "", *(f"{x:.3f}" for x in np.mean(every, axis=0)), sep="\t")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    folder = bench_data("data")
    if folder is not None:
        main(folder, parser.parse_args().seeds)

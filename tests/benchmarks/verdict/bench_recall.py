"""Estimated recall beside the truth of simulated traffic: coverage, bias, and how often it is shown.

    python -m tests.benchmarks.verdict.bench_recall [--repetitions 2000]

A version scores `ROWS` rows, keeps all alerts and a random slice, and analysts who tell the truth label so
many of the slice at random, or all that `GET /queue` hands out until as many were marked `audit`.
"""

import argparse
import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearnorm.service.feedback.figures.recall import Cells, Recall, estimate
from nearnorm.service.feedback.queue import MIX

How = Literal["random", "queue"]
ROWS = 600_000
SLICE = 0.02
REFERENCE = 4_000
BUDGET = 0.01  # of normal rows
RECALL = 0.45


class Outcome(NamedTuple):
    truth: float
    recall: Recall


def repetition(
    how: How, labels: int, prevalence: float, rng: np.random.Generator, recall: float = RECALL
) -> Outcome:
    """One version's time of service, until `labels` random labels were given.

    A row is how rare it is: uniform from 0 to 1 for normal ones, nearer to 0 for anomalies. Only what is kept
    is drawn: every alert, and of the rest the slice.
    """
    anomalies = rng.binomial(ROWS, prevalence)
    found = rng.binomial(anomalies, recall)
    alarms = rng.binomial(ROWS - anomalies, BUDGET)
    missed = rng.binomial(anomalies - found, SLICE)
    quiet = rng.binomial(ROWS - anomalies - alarms, SLICE)
    power = math.log(BUDGET) / math.log(recall)
    rarity = np.concatenate(
        [
            rng.uniform(0, recall, found) ** power,
            rng.uniform(0, BUDGET, alarms),
            rng.uniform(recall, 1, missed) ** power,
            rng.uniform(BUDGET, 1, quiet),
        ]
    )
    count = found, alarms, missed, quiet
    anomaly, alert = (
        np.repeat(flags, count) for flags in ((True, False, True, False), (True, True, False, False))
    )
    drawn = ~alert | (rng.random(len(alert)) < SLICE)
    judged = np.zeros(len(alert), bool)
    if how == "random":
        judged[rng.permutation(np.flatnonzero(drawn))[:labels]] = True
    else:
        judged[handed_out(-rarity, alert, drawn, labels, rng)] = True
    percentile = np.searchsorted(np.sort(rng.random(REFERENCE)), rarity) * -1
    probability = np.where(alert, 1.0, SLICE)
    cells = tally(percentile, alert, probability, judged, judged & drawn, anomaly)
    return Outcome(found / anomalies, estimate(cells, "v"))


def handed_out(
    score: NDArray[np.float64],
    alert: NDArray[np.bool_],
    drawn: NDArray[np.bool_],
    labels: int,
    rng: np.random.Generator,
) -> list[int]:
    """Places of events as the queue hands them out, until `labels` were its random ones."""
    down = np.argsort(-score).tolist()
    alerts = int(alert.sum())
    low, high = iter(down[alerts:]), iter(down[:alerts][::-1])
    streams = {
        "top": iter(down),
        "uncertain": (place for pair in zip(high, low, strict=False) for place in pair),
        "audit": iter(rng.permutation(np.flatnonzero(drawn)).tolist()),
    }
    seen: set[int] = set()
    random = 0
    while random < labels:
        before = len(seen)
        for why in MIX:
            place = next((p for p in streams[why] if p not in seen), None)
            if place is not None:
                seen.add(place)
                random += why == "audit"
        if len(seen) == before:
            break
    return list(seen)


def tally(
    percentile: NDArray[np.int64],
    alert: NDArray[np.bool_],
    probability: NDArray[np.float64],
    judged: NDArray[np.bool_],
    named: NDArray[np.bool_],
    anomaly: NDArray[np.bool_],
) -> Cells:
    """As the ledger sums them up."""
    key, place = np.unique(percentile * 2 + alert, return_inverse=True)
    masks = (np.ones(len(alert), bool), judged, judged & anomaly, named, named & anomaly)
    rows = 1 / probability
    sums = [
        np.stack([np.bincount(place, weight * mask, len(key)) for mask in masks], 1)
        for weight in (np.ones(len(alert)), rows, rows**2)
    ]
    events, rows, squares = (part.astype(float) for part in sums)
    return Cells(key % 2 == 1, (key // 2).astype(float), events, rows, squares)


def row(how: How, labels: int, prevalence: float, repetitions: int, recall: float = RECALL) -> str:
    rng = np.random.default_rng(0)
    found = [repetition(how, labels, prevalence, rng, recall) for _ in range(repetitions)]
    covered = np.mean([o.recall.low <= o.truth <= o.recall.high for o in found])
    shown = np.mean([o.recall.shown for o in found])
    bias = np.mean([o.recall.estimate - o.truth for o in found])
    width = np.mean([o.recall.high - o.recall.low for o in found])
    truth = np.mean([o.truth for o in found])
    judged = np.mean([o.recall.labelled for o in found])
    return (
        f"| {how} | {prevalence:.0%} | {labels:,} | {judged:,.0f} | {truth:.2f} | {bias:+.3f} "
        f"| {covered:.3f} | {width:.2f} | {shown:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=2_000)
    repetitions = parser.parse_args().repetitions
    print("| labels | prevalence | random | in all | recall | bias | coverage | width | shown |")
    print("|---|---|---|---|---|---|---|---|---|")
    for how in ("random", "queue"):
        for prevalence, most in ((0.05, 1_500), (0.01, 6_000)):
            for labels in (20, 50, 200, most):
                print(row(how, labels, prevalence, repetitions), flush=True)


if __name__ == "__main__":
    main()

"""One made-up task: a few labelled anomalies, contaminated rows, and rows to rank whose truth is known."""

from dataclasses import dataclass

import numpy as np

from nearnorm.training.teacher.made_up.causes import records

LABELS = (1, 2, 3, 4, 5, 5, 5, 6, 7, 8, 10, 10, 10, 12, 15, 20, 30)
ROWS = 2_500
UNLABELLED = 768
ASKED = (24, 160)
"""Anomalies and normal rows to rank."""


@dataclass(frozen=True)
class Task:
    """Rows of D columns: labelled anomalies, unlabelled ones, and those to rank with their `truth`."""

    labelled: np.ndarray
    unlabelled: np.ndarray
    asked: np.ndarray
    truth: np.ndarray


def task(rng: np.random.Generator) -> Task:
    while (made := _task(rng)) is None:
        pass
    return made


def _task(rng: np.random.Generator) -> Task | None:
    """None where too few rows or columns came about."""
    share = np.exp(rng.uniform(np.log(0.04), np.log(0.2)))
    rows, anomalous = records(ROWS, max(int(share * ROWS), 90), rng)
    labels = int(rng.choice(LABELS))
    bad, good = rng.permutation(np.flatnonzero(anomalous)), rng.permutation(np.flatnonzero(~anomalous))
    hidden = 0.0 if rng.random() < 0.1 else np.exp(rng.uniform(np.log(0.006), np.log(0.2)))
    contaminated = min(round(hidden * UNLABELLED), len(bad) - labels - ASKED[0])
    if contaminated < 0 or len(good) < UNLABELLED + ASKED[1]:
        return None
    unlabelled = rows[
        np.concatenate([bad[labels : labels + contaminated], good[: UNLABELLED - contaminated]])
    ]
    asked = rows[np.concatenate([bad[-ASKED[0] :], good[-ASKED[1] :]])]
    varies = unlabelled.std(0) > 0
    if varies.sum() < 2:
        return None
    truth = np.repeat([1.0, 0.0], ASKED)
    return Task(rows[bad[:labels]][:, varies], unlabelled[:, varies], asked[:, varies], truth)

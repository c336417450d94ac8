"""Ranks of labelled rows by fits that did not train on them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from nearnorm.models.conformal import ranks
from nearnorm.training.dataset.labels import ANOMALY, NORMAL
from nearnorm.training.dataset.load import Dataset, Split
from nearnorm.training.evaluation.calibrate import score
from nearnorm.training.evaluation.training_rows import training_rows
from nearnorm.training.fitting.fit import Progress, TrainingSet, fit
from nearnorm.training.method.config import FitConfig

FOLDS = 2
"""Each fold costs a fit; two measure every label once."""
FEW, FINE_FOLDS = 100, 5
"""With fewer anomalies than FEW, half of them teach too little: bad labels seem to help where few are known,
and do harm to the model that learns from all. So where two models are compared, a fifth is left out at a
time."""
REFERENCE_POINTS = 1_000


@dataclass(frozen=True)
class CrossFit:
    """`rows` [L] are the labelled rows, `score` and `rank` [L] what the fit that left a row's fold out
    gives it: `rank` is the share of reference rows that score lower. `reference_rank` [folds, R] has the
    reference rows among themselves, by each fit."""

    rows: np.ndarray
    score: np.ndarray
    rank: np.ndarray
    reference_rank: np.ndarray


def fold_count(labels: np.ndarray) -> int:
    """Into how many folds labels are dealt where two models are compared."""
    anomalies = int((labels == ANOMALY).sum())
    return max(FOLDS, min(FINE_FOLDS, anomalies)) if anomalies < FEW else FOLDS


def deal(labels: np.ndarray, seed: int, folds: int = FOLDS) -> np.ndarray:
    """The fold of each row [N], -1 for unlabelled ones; anomalies and normals are dealt out evenly."""
    fold = np.full(len(labels), -1)
    rng = np.random.default_rng([seed, 3])
    for label in (ANOMALY, NORMAL):
        rows = rng.permutation(np.flatnonzero(labels == label))
        fold[rows] = np.arange(len(rows)) % folds
    return fold


def cross_fit(
    data: Dataset,
    split: Split,
    config: FitConfig,
    seed: int,
    progress: Callable[[float], None] = lambda done: None,
    known: np.ndarray | None = None,
    present: np.ndarray | None = None,
    folds: int = FOLDS,
    validation: TrainingSet | None = None,
) -> CrossFit:
    """Rank every label of `data` that is not among the reference rows.

    `known` [N] are the labels that the fits may learn from, `present` [N] the rows that they may see;
    by default all. So two recipes that knew more and less are measured on the same folds of all labels.
    """
    labels = data.labels[split.fit]
    fold = deal(labels, seed, folds)
    learnt = labels if known is None else known[split.fit]
    seen = np.ones(len(labels), bool) if present is None else present[split.fit]
    rows, scores, ranked, reference_ranks = [], [], [], []
    for number in range(folds):
        kept = split.fit[(fold != number) & seen]
        training = training_rows(data, kept, learnt[(fold != number) & seen])
        beat = partial(_beat, progress, number / folds)
        detector = fit(training, config, seed=seed, progress=beat, validation=validation).detector
        left_out = split.fit[fold == number]
        reference = score(detector, data.numeric[split.reference], data.codes[split.reference]).score
        scored = score(detector, data.numeric[left_out], data.codes[left_out]).score
        rows.append(left_out)
        scores.append(scored)
        ranked.append(ranks(scored, reference))
        reference_ranks.append(ranks(reference, reference))
        progress((number + 1) / folds)
    return CrossFit(
        np.concatenate(rows), np.concatenate(scores), np.concatenate(ranked), np.stack(reference_ranks)
    )


def rank_left_out(
    data: Dataset,
    split: Split,
    config: FitConfig,
    seed: int,
    rows: np.ndarray,
    known: np.ndarray,
    present: np.ndarray,
) -> CrossFit:
    """Rank `rows` [L], which are not among those to fit, by one fit on the others.

    `known` [N] are the labels that it may learn from, `present` [N] the rows that it may see.
    """
    kept = split.fit[present[split.fit]]
    training = training_rows(data, kept, known[kept])
    detector = fit(training, config, seed=seed).detector
    reference = score(detector, data.numeric[split.reference], data.codes[split.reference]).score
    scored = score(detector, data.numeric[rows], data.codes[rows]).score
    return CrossFit(rows, scored, ranks(scored, reference), evenly_spread())


def evenly_spread() -> np.ndarray:
    """Ranks [1, R] of reference rows among themselves, which are the same for every model but for ties."""
    return np.linspace(0.0, 1.0, REFERENCE_POINTS, endpoint=False)[None]


def _beat(progress: Callable[[float], None], done: float, _: Progress) -> None:
    """A fold goes on: who watches can tell it from one that hangs."""
    progress(done)


def measurable(labels: np.ndarray) -> bool:
    """Whether every fold has an anomaly to find, so that there is something to measure."""
    return int((labels == ANOMALY).sum()) >= FOLDS

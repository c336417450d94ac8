"""Is Nearnorm worth it on this data? It and the usual alternatives on the same splits, judged alike."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nearnorm.models.conformal import DEFAULT_BUDGET
from nearnorm.models.errors import DataError
from nearnorm.training.comparison.baselines import BASELINES, encode, unfolded
from nearnorm.training.dataset.labels import ANOMALY, NORMAL, UNLABELLED
from nearnorm.training.dataset.load import Dataset
from nearnorm.training.evaluation.calibrate import score
from nearnorm.training.evaluation.training_rows import training_rows
from nearnorm.training.fitting.fit import fit
from nearnorm.training.method.config import FitConfig
from nearnorm.training.method.precision import average_precision

NEARNORM = "Nearnorm"
TEST_SHARE = 0.3
FEWEST_TEST_ANOMALIES = 3
FEWEST_NORMALS = 100
"""With fewer confirmed normals than these, unlabelled test rows are taken for normal ones."""
CLEAR = 0.02
"""A smaller difference of mean average precision is no evidence."""


@dataclass(frozen=True)
class Trial:
    """`average_precision` and `recall` (at the budget of normal test rows), by method, one a split."""

    labelled: int
    test_rows: int
    test_anomalies: int
    normals_known: bool
    average_precision: dict[str, list[float]]
    recall: dict[str, list[float]]

    @property
    def best_rival(self) -> str:
        return max(BASELINES, key=lambda name: float(np.mean(self.average_precision[name])))


def hold_trial(
    data: Dataset,
    config: FitConfig,
    labelled: int,
    splits: int,
    seed: int,
    progress: Callable[[float], None],
) -> Trial:
    """Each split holds 30% of the rows out, keeps the labels of `labelled` anomalies in the rest and hides
    all others. Raises DataError where there are too few anomalies for that."""
    anomalies = int((data.labels == ANOMALY).sum())
    judging = round(TEST_SHARE * anomalies)
    if judging < FEWEST_TEST_ANOMALIES or anomalies - judging < labelled:
        raise DataError(
            f"the data has {anomalies} labelled anomalies, and {judging} of them would be held out to judge "
            f"by: {FEWEST_TEST_ANOMALIES} are the least, and {labelled} (--labels) must be left to train on"
        )
    normals_known = int((data.labels == NORMAL).sum()) >= FEWEST_NORMALS
    precision: dict[str, list[float]] = {name: [] for name in (NEARNORM, *BASELINES)}
    recall: dict[str, list[float]] = {name: [] for name in precision}
    test = np.empty(0, np.int64)
    for number in range(splits):
        rng = np.random.default_rng([seed, number, 4])
        train, test, known = _divide(data.labels, labelled, normals_known, rng)
        truth = data.labels[test] == ANOMALY
        for name, scores in _scores(data, config, train, test, known, seed + number):
            precision[name].append(average_precision(truth, scores))
            recall[name].append(
                float((scores[truth] > np.quantile(scores[~truth], 1 - DEFAULT_BUDGET)).mean())
            )
        progress((number + 1) / splits)
    return Trial(
        labelled=labelled,
        test_rows=len(test),
        test_anomalies=int((data.labels[test] == ANOMALY).sum()),
        normals_known=normals_known,
        average_precision=precision,
        recall=recall,
    )


def verdict(trial: Trial) -> str:
    """A plain sentence on whether Nearnorm is worth it here."""
    rival = trial.best_rival
    ours, theirs = (np.array(trial.average_precision[name]) for name in (NEARNORM, rival))
    difference = float(ours.mean() - theirs.mean())
    figures = (
        f"with {trial.labelled} labelled anomalies its mean average precision is {ours.mean():.3f}, and that "
        f"of the best alternative, {rival}, is {theirs.mean():.3f}"
    )
    wins = f"ahead in {int((ours > theirs).sum())} of {len(ours)} splits"
    if difference > CLEAR:
        return f"Nearnorm is worth it here: {figures}; it is {wins}."
    if difference < -CLEAR:
        return f"Nearnorm is not worth it here: {figures}; it is {wins}."
    return f"Nearnorm and the best alternative are even here: {figures}; Nearnorm is {wins}."


def _divide(
    labels: np.ndarray, labelled: int, normals_known: bool, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows to train on, rows to judge by, and the few training rows whose labels are known. Where normals
    are known, unlabelled rows are trained on and judge nothing."""
    train, test = [], []
    for value in (ANOMALY, NORMAL, UNLABELLED):
        rows = rng.permutation(np.flatnonzero(labels == value))
        cut = round(TEST_SHARE * len(rows))
        if value == UNLABELLED and normals_known:
            cut = 0
        test.append(rows[:cut])
        train.append(rows[cut:])
    known = train[0][:labelled]
    return rng.permutation(np.concatenate(train)), np.concatenate(test), known


def _scores(
    data: Dataset, config: FitConfig, train: np.ndarray, test: np.ndarray, known: np.ndarray, seed: int
) -> list[tuple[str, np.ndarray]]:
    """The scores of the test rows by every method."""
    labels = np.full(len(data.labels), UNLABELLED, np.int8)
    labels[known] = ANOMALY
    training = training_rows(data, train, labels[train])
    detector = fit(training, config, seed=seed).detector
    answers = [(NEARNORM, score(detector, data.numeric[test], data.codes[test]).score)]
    matrix = encode(unfolded(data.numeric, data.schema.times), data.codes, train, data.cardinalities)
    positive = (labels[train] == ANOMALY).astype(int)
    for name, method in BASELINES.items():
        answers.append((name, method(matrix[train], positive, matrix[test], seed)))
    return answers

"""What each round of a story comes to: the serving model's alerts beside as many of other models."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score

SERVED, FIRST, FOREST = "Nearnorm, retrained", "Nearnorm, first model", "isolation forest"


@dataclass(frozen=True)
class Round:
    """Of `rows` records `anomalies` are bad. `found`: how many of them each model has among as many records
    as the service raised `alerts`. `precision`: each model's average precision over all of them, None without
    an anomaly. `retraining` says how the job at the end of the round ended."""

    name: str
    rows: int
    anomalies: int
    alerts: int
    found: dict[str, int]
    precision: dict[str, float | None]
    retraining: str

    def __str__(self) -> str:
        by_model = ", ".join(
            f"{model} {count}"
            + ("" if (ap := self.precision[model]) is None else f" (average precision {ap:.2f})")
            for model, count in self.found.items()
        )
        return (
            f"{self.name}: {self.anomalies} of {self.rows} are bad; of {self.alerts} alerts right: {by_model}"
        )


def compared(
    name: str, truth: np.ndarray, alerts: np.ndarray, scores: Mapping[str, np.ndarray], retraining: str
) -> Round:
    """A round of N records: `truth` and the service's `alerts` [N] are booleans, `scores` [N] by model.

    The served model's are counted as it raised them; of another the highest scores, as many."""
    count = int(alerts.sum())
    found = {
        model: int(truth[alerts if model == SERVED else highest(score, count)].sum())
        for model, score in scores.items()
    }
    precision = {
        model: float(average_precision_score(truth, score)) if truth.any() else None
        for model, score in scores.items()
    }
    return Round(name, len(truth), int(truth.sum()), count, found, precision, retraining)


def highest(score: np.ndarray, count: int) -> np.ndarray:
    """The places of the `count` highest of N scores."""
    return np.argsort(-score, kind="stable")[:count]


def isolation_forest(history: pd.DataFrame, rows: pd.DataFrame, seed: int) -> np.ndarray:
    """[N] scores of `rows` by scikit-learn's isolation forest on `history`, texts as columns of 0 and 1: what
    needs no labels, and no service."""
    both = pd.get_dummies(pd.concat([history, rows]), dtype=float)
    both = both.fillna(both.median())
    forest = IsolationForest(n_estimators=300, random_state=seed).fit(both[: len(history)])
    return -np.asarray(forest.score_samples(both[len(history) :]))

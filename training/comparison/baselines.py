"""What a practitioner would try first, from scikit-learn alone: yardsticks for `nearnorm evaluate`."""

from collections.abc import Callable

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, IsolationForest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from nearnorm.models.data.clock import DAY, with_hours
from nearnorm.models.data.schema import FIRST_CODE, TimeColumns

MOST_ONE_HOT = 30
TREES = 300

Scores = Callable[[np.ndarray, np.ndarray, np.ndarray, int], np.ndarray]
"""Training matrix [N, D], labels [N] (1 anomaly, 0 the rest), test matrix [M, D], seed -> scores [M]."""


def encode(
    numeric: np.ndarray, codes: np.ndarray, train: np.ndarray, cardinalities: tuple[int, ...]
) -> np.ndarray:
    """[N, D]: medians of the rows `train` with indicators for missing values, one-hot categories."""
    parts = []
    for column in numeric.T:
        absent = np.isnan(column)
        present = column[train][~absent[train]]
        parts.append(np.where(absent, np.median(present) if len(present) else 0.0, column))
        if absent[train].any():
            parts.append(absent.astype(float))
    for column, cardinality in zip(codes.T, cardinalities, strict=True):
        known = range(FIRST_CODE, min(cardinality, FIRST_CODE + MOST_ONE_HOT))
        parts += [(column == code).astype(float) for code in known]
    return np.column_stack(parts)


def unfolded(numeric: np.ndarray, times: TimeColumns) -> np.ndarray:
    """Numbers [N, Dn] with the hour of the day in the place of times; the day of the week, counted from
    Thursday, and what passed since other times follow."""
    seconds = numeric[:, list(times.columns)]
    since = [(numeric[:, later] - numeric[:, earlier])[:, None] for later, earlier in times.since]
    return np.concatenate([with_hours(numeric, times), np.mod(np.floor(seconds / DAY), 7), *since], axis=1)


def isolation_forest(train: np.ndarray, labels: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """No labels at all."""
    forest = IsolationForest(n_estimators=TREES, random_state=seed).fit(train)
    return -np.asarray(forest.score_samples(test))


def extra_trees(train: np.ndarray, labels: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """Labelled anomalies against all other rows, balanced."""
    trees = ExtraTreesClassifier(n_estimators=TREES, class_weight="balanced", random_state=seed)
    return np.asarray(trees.fit(train, labels).predict_proba(test)[:, 1])


def boosted_trees(train: np.ndarray, labels: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """Labelled anomalies against all other rows, balanced."""
    trees = HistGradientBoostingClassifier(class_weight="balanced", early_stopping=False, random_state=seed)
    return np.asarray(trees.fit(train, labels).predict_proba(test)[:, 1])


def logistic_regression(train: np.ndarray, labels: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """Labelled anomalies against all other rows, balanced, on standardised columns."""
    scaler = StandardScaler().fit(train)
    model = LogisticRegression(class_weight="balanced", max_iter=1_000)
    return np.asarray(model.fit(scaler.transform(train), labels).decision_function(scaler.transform(test)))


BASELINES: dict[str, Scores] = {
    "PU ExtraTrees": extra_trees,
    "PU boosted trees": boosted_trees,
    "PU logistic regression": logistic_regression,
    "isolation forest": isolation_forest,
}

"""The others that an analyst could let learn: each ranks the traffic, and its highest rows are reviewed."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, IsolationForest

from tests.benchmarks.loop.pools import Pool


def by_model(
    pool: Pool, rounds: int, reviews: int, rank: Callable[..., np.ndarray], learn: bool
) -> list[int]:
    """Anomalies found after each round by one of the others: its highest rows are reviewed, then it is
    fitted anew."""
    base, traffic = pool.matrices()
    seen = np.zeros(len(traffic), bool)
    found = []
    scores = rank(base, pool.base_labels, traffic, np.zeros(0, int), np.zeros(0))
    for _ in range(rounds):
        order = np.argsort(-np.where(seen, -np.inf, scores), kind="stable")[:reviews]
        seen[order] = True
        found.append(int(pool.truth[seen].sum()))
        if learn:
            judged = np.flatnonzero(seen)
            scores = rank(base, pool.base_labels, traffic, judged, pool.truth[judged])
    return found


def isolation(base: np.ndarray, labels: np.ndarray, traffic: np.ndarray, *_: np.ndarray) -> np.ndarray:
    forest = IsolationForest(n_estimators=300, random_state=0).fit(np.concatenate([base, traffic]))
    return np.asarray(-forest.score_samples(traffic))


def positive_unlabelled(fit: Callable[[], Any]) -> Callable[..., np.ndarray]:
    """Labelled anomalies against unlabelled base rows and confirmed normals. Rows that are still to be
    ranked are left out of the fit: trees remember theirs, and would rank them all as normal."""

    def rank(
        base: np.ndarray, labels: np.ndarray, traffic: np.ndarray, judged: np.ndarray, truth: np.ndarray
    ) -> np.ndarray:
        rows = np.concatenate([base, traffic[judged]])
        target = np.concatenate([labels == 1, truth == 1])
        return np.asarray(fit().fit(rows, target.astype(int)).predict_proba(traffic)[:, 1])

    return rank


def trees() -> ExtraTreesClassifier:
    return ExtraTreesClassifier(300, class_weight="balanced", random_state=0, n_jobs=1)


def boosted() -> Any:
    from catboost import CatBoostClassifier  # not in `dev`: pip install it

    return CatBoostClassifier(
        verbose=False, auto_class_weights="Balanced", random_seed=0, thread_count=1, allow_writing_files=False
    )


def rivals() -> dict[str, tuple[Callable[..., np.ndarray], bool]]:
    """How each ranks, and whether it learns from the reviews."""
    found: dict[str, tuple[Callable[..., np.ndarray], bool]] = {
        "PU ExtraTrees": (positive_unlabelled(trees), True),
        "PU CatBoost": (positive_unlabelled(boosted), True),
        "isolation forest": (isolation, False),
    }
    try:
        boosted()
    except ModuleNotFoundError:
        del found["PU CatBoost"]
    return found

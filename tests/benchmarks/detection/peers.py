"""The peers, fitted here where no result of theirs is recorded: labelled anomalies against all other rows.

The first three are BENCH_DATA's own recipes. The fourth is CatBoost with the categories as they are; where
there are none, or a time stands as text, which it would learn by heart, it is the plain one.
"""

import importlib
import time
from argparse import Namespace
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score

from tests.benchmarks.sets.protocol import of_bench

NATIVE = "pu_catboost_native"
PEERS = ("pu_extratrees", "pu_catboost", "pu_xgboost", NATIVE)
TIMES_AS_TEXT = "ton_iot_"


def fit_peer(method: str, task: Any) -> tuple[float, float]:
    """Average precision on the test part, and the seconds of the fit."""
    seed = 42 + task.seed
    started = time.perf_counter()
    categories = _categories(task.frame_train)
    if method == NATIVE and categories and not task.dataset.startswith(TIMES_AS_TEXT):
        scores = _native(task, categories, seed)
    else:
        method = method.removesuffix("_native")
        recipes = of_bench("wsad_methods")
        recipes.seed_everything(seed)
        peer = recipes.build(method, Namespace(threads=1, external={}))
        scores = peer.fit(task.X_train, task.y_semi.copy(), None, None, seed)(task.X_test)
    return float(average_precision_score(task.y_test, scores)), time.perf_counter() - started


def cat_boost(seed: int, **more: Any) -> Any:
    """BENCH_DATA's own recipe, for who has to add to it."""
    catboost = importlib.import_module("catboost")  # not in `dev`: pip install it
    return catboost.CatBoostClassifier(
        iterations=200,
        depth=5,
        learning_rate=0.05,
        verbose=0,
        auto_class_weights="Balanced",
        random_seed=seed,
        thread_count=1,
        allow_writing_files=False,
        **more,
    )


def _native(task: Any, categories: list[str], seed: int) -> np.ndarray:
    train, test = (_as_text(frame, categories) for frame in (task.frame_train, task.frame_test))
    model = cat_boost(seed, cat_features=categories).fit(train, task.y_semi)
    return np.asarray(model.predict(test, prediction_type="RawFormulaVal"))


def _categories(frame: Any) -> list[str]:
    return [name for name in frame if frame[name].dtype.kind not in "biuf"]


def _as_text(frame: Any, categories: list[str]) -> Any:
    texts = {name: frame[name].astype("string").fillna("").astype(str) for name in categories}
    columns = {name: texts[name] if name in texts else frame[name].astype(float) for name in frame}
    return type(frame)(columns)

"""Small made-up training sets: two normal groups, anomalies apart from both."""

import numpy as np

from nearnorm.training.fitting.fit import TrainingSet
from nearnorm.training.method.config import FitConfig

QUICK = {"representation_epochs": 1, "joint_epochs": 2, "members": 2}


def quick(preset: str = "default", **changes: object) -> FitConfig:
    """A preset cut short, for tests of behaviour and not of quality."""
    return FitConfig.model_validate({"preset": preset, **QUICK, **changes})


def sample(
    rows: int = 400, labelled: int = 5, confirmed: int = 0, seed: int = 0
) -> tuple[TrainingSet, np.ndarray]:
    """A training set with numbers, missing values and codes, and its true labels."""
    rng = np.random.default_rng(seed)
    hidden = max(rows // 20, labelled)
    truth = np.zeros(rows, dtype=int)
    truth[:hidden] = 1
    group = rng.integers(2, size=rows)
    numeric = rng.normal(size=(rows, 4)) + 4.0 * group[:, None]
    numeric[truth == 1, :2] += 6.0
    numeric[:, 3] = 1_700_000_000 + np.round(10_000 * rng.random(rows))
    numeric[rng.random(rows) < 0.1, 2] = np.nan
    codes = np.stack([2 + group, rng.integers(0, 5, size=rows)], axis=1)
    labels = np.full(rows, -1, dtype=np.int8)
    labels[:labelled] = 1
    if confirmed:
        labels[-confirmed:] = 0
    return TrainingSet(numeric, codes, (4, 5), labels), truth

"""Payments whose frauds differ from others by nothing but when they happen."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score

from nearnorm.training.dataset.load import load
from nearnorm.training.dataset.recipe import ColumnOverride
from nearnorm.training.evaluation.calibrate import score
from nearnorm.training.evaluation.training_rows import training_rows
from nearnorm.training.fitting.fit import fit
from nearnorm.training.method.config import FitConfig

ROWS, FRAUDS, KNOWN = 3_000, 90, 10
HOUR, DAY = 3_600, 86_400


def payments(folder: Path, moments: np.ndarray, **columns: np.ndarray) -> tuple[Path, np.ndarray]:
    """A file of payments at these moments, the first FRAUDS of which are frauds, and the truth."""
    rng = np.random.default_rng(3)
    truth = np.arange(ROWS) < FRAUDS
    table = {
        "amount": rng.lognormal(3.0, 1.0, ROWS).round(2),
        "items": rng.integers(1, 9, ROWS),
        "booked_at": pa.array((moments * 1e6).astype(np.int64), pa.timestamp("us")),
        "label": pa.array([1 if i < KNOWN else None for i in range(ROWS)], pa.int64()),
    }
    path = folder / "payments.parquet"
    pq.write_table(pa.table(table | columns), path)
    return path, truth


def found(path: Path, truth: np.ndarray, overrides: dict[str, ColumnOverride], seeds: int = 1) -> float:
    """The average precision of a model's scores of frauds that it was not told of, mean over seeds."""
    data = load(str(path), "label", overrides)
    training = training_rows(data, np.arange(ROWS), data.labels)
    fits = (fit(training, FitConfig(), seed=seed).detector for seed in range(seeds))
    scores = (score(detector, data.numeric, data.codes).score for detector in fits)
    return float(np.mean([average_precision_score(truth[KNOWN:], one[KNOWN:]) for one in scores]))


def by_day(rng: np.random.Generator) -> np.ndarray:
    """Moments of half a year, about three in the afternoon."""
    return 1.75e9 // DAY * DAY + rng.integers(0, 180, ROWS) * DAY + rng.normal(15.0, 3.0, ROWS) * HOUR


def at_night(rng: np.random.Generator) -> np.ndarray:
    moments = by_day(rng)
    moments[:FRAUDS] = moments[:FRAUDS] // DAY * DAY + rng.uniform(1.0, 4.5, FRAUDS) * HOUR
    return moments


def on_sundays(rng: np.random.Generator) -> np.ndarray:
    moments = by_day(rng)
    weekday = (moments // DAY + 3) % 7
    to_monday = rng.integers(0, 6, ROWS)
    moments += np.where(np.arange(ROWS) < FRAUDS, 6 - weekday, to_monday - weekday) * DAY
    return moments


@pytest.mark.parametrize("moments", [at_night, on_sundays])
def test_frauds_are_found_by_when_they_happen(
    tmp_path: Path, moments: Callable[[np.random.Generator], np.ndarray]
) -> None:
    path, truth = payments(tmp_path, moments(np.random.default_rng(5)))
    without = {"booked_at": ColumnOverride(kind="ignored")}

    # ten frauds on Sundays are found by 0.4 to 1.0, whatever the seed makes of them
    assert found(path, truth, {}, seeds=4) > 0.6 > 0.2 > found(path, truth, without)


def test_frauds_are_found_by_how_long_ago_the_account_was_opened(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    moments = by_day(rng)
    age = np.where(np.arange(ROWS) < FRAUDS, rng.uniform(0.1, 2.0, ROWS), rng.uniform(30.0, 2_000.0, ROWS))
    opened = pa.array(((moments - age * DAY) * 1e6).astype(np.int64), pa.timestamp("us"))
    path, truth = payments(tmp_path, moments, opened_at=opened)
    apart = {"booked_at": ColumnOverride(since=())}

    assert found(path, truth, {}) > 0.6 > 0.2 > found(path, truth, apart)

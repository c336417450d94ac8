"""Rows like those the benchmark's model is trained on: four kinds of normal, 30 numbers, few anomalies."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

FEATURES = 30
NAMES = [f"f{j}" for j in range(FEATURES)]
TRAINING_ROWS = 7_000
LABELLED = 20


def draw(rows: int, seed: int, anomalies: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Rows [N, 30], a third of the columns heavy-tailed, and which of them are anomalies."""
    centres = np.random.default_rng(0).normal(0, 3, (4, FEATURES))
    rng = np.random.default_rng(seed)
    values = centres[rng.integers(0, 4, rows)] + rng.normal(0, 1, (rows, FEATURES))
    strange = rng.random(rows) < anomalies
    values[strange] += rng.normal(0, 4, (int(strange.sum()), FEATURES))
    values[:, ::3] = np.exp(values[:, ::3] / 3)
    return values.round(4), strange


def write_training_file(path: Path) -> None:
    values, strange = draw(TRAINING_ROWS, seed=1, anomalies=0.03)
    known = set(np.flatnonzero(strange)[:LABELLED].tolist())
    labels = pa.array([1 if row in known else None for row in range(len(values))], pa.int64())
    columns = {name: pa.array(values[:, j]) for j, name in enumerate(NAMES)}
    pq.write_table(pa.table({**columns, "label": labels}), path)


def records(rows: int, seed: int) -> list[dict[str, float]]:
    """Ordinary traffic, of which one row in a thousand is strange."""
    return [dict(zip(NAMES, row, strict=True)) for row in draw(rows, seed, anomalies=0.001)[0].tolist()]

"""From a frame to a bundle's files, by the way of `nearnorm train`."""

import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from msgspec import Struct

from nearnorm.detector.mistakes import InvalidInput, NearnormWarning
from nearnorm.training.dataset.known_normal import known_normal
from nearnorm.training.dataset.load import FEWEST_ROWS, typed
from nearnorm.training.dataset.recipe import Recipe
from nearnorm.training.dataset.source import IN_MEMORY
from nearnorm.training.job import Prepared, TrainingJob, Watcher, lay_out

if TYPE_CHECKING:
    from nearnorm.training.pipeline import Trained

_SILENT = Watcher(step=lambda stage, done: None, schema=lambda findings: None, warning=lambda told: None)


class TrainingRows(Struct, frozen=True):
    """What is trained on: a table of N records, their labels [N] int8 and what the bundle calls them, the
    column that orders them, and rows known to be normal."""

    table: pa.Table
    labels: np.ndarray
    label_column: str
    time_column: str | None
    reference: pa.Table | None


def train(rows: TrainingRows, recipe: Recipe, seed: int) -> "Trained":
    """What `nearnorm train` would write for a file of the same rows. Raises DataError, ConfigError."""
    started = time.perf_counter()
    _refuse(rows)
    data = typed("X", rows.table, rows.labels, rows.label_column, recipe.columns, rows.time_column)
    sample = None
    if rows.reference is not None:
        sample = known_normal("reference", rows.reference, data.schema)
    data, split = lay_out(data, sample, seed)
    for sentence in data.warnings:
        warnings.warn(sentence, NearnormWarning, stacklevel=3)
    job = TrainingJob(
        source=f"{IN_MEMORY}X",
        out=Path(),  # nothing is written
        recipe=recipe,
        label_column=rows.label_column,
        time_column=rows.time_column,
        reference=None if sample is None else f"{IN_MEMORY}reference",
        seed=seed,
    )
    from nearnorm.training import pipeline  # torch: after what can be refused

    return pipeline.train(Prepared(job, data, split, None, time.perf_counter() - started), _SILENT)


def _refuse(rows: TrainingRows) -> None:
    count, columns = rows.table.num_rows, rows.table.column_names
    if count < FEWEST_ROWS:
        raise InvalidInput(f"X has n_samples={count}: {FEWEST_ROWS} rows are the least to learn from")
    if rows.label_column in columns:
        raise InvalidInput(
            f"X has a column {rows.label_column!r}, as the bundle calls the labels: give that one as y, or "
            "set label_column to another name"
        )
    if rows.time_column is not None and rows.time_column not in columns:
        raise InvalidInput(f"time_column={rows.time_column!r}: X has no such column")

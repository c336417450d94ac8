"""What a training is asked to do, and everything that can be refused before the heavy work: no torch."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nearnorm.models.bundle.bundle import refuse_other_files
from nearnorm.models.bundle.manifest import DataFacts, Reading
from nearnorm.models.data.tables import Arrays
from nearnorm.models.errors import ConfigError, DataError
from nearnorm.training.dataset.columns.infer import Finding
from nearnorm.training.dataset.known_normal import (
    KnownNormal,
    judged_by,
    load_known_normal,
    overlap,
    shared_rows,
)
from nearnorm.training.dataset.lake.draw import untold
from nearnorm.training.dataset.lake.engine import LakeEngine, in_this_process
from nearnorm.training.dataset.load import AS_FOUND, Dataset, Split, load, load_labelled, split
from nearnorm.training.dataset.recipe import Recipe
from nearnorm.training.dataset.source import refuse_data_within
from nearnorm.training.dataset.suspicious import suspicious
from nearnorm.training.dataset.validation import load_validation

STAGES = {"read": 0.05, "fit": 0.4, "evaluate": 0.8, "export": 0.95, "report": 1.0}
"""The share of the whole that is done when a stage ends."""


@dataclass(frozen=True)
class TrainingJob:
    """What `nearnorm train` was asked for. `held_out` is a labelled file for the report alone, `validation`
    one to stop by, `reference` one whose rows are known to be normal."""

    source: str
    out: Path
    recipe: Recipe
    label_column: str = "label"
    time_column: str | None = None
    held_out: str | None = None
    validation: str | None = None
    reference: str | None = None
    seed: int = 0
    reading: Reading = AS_FOUND


def _untold_facts(_: DataFacts) -> None:
    """Where they go of a caller that does not ask."""


@dataclass(frozen=True)
class Watcher:
    """Whom training tells: `step(stage, done)` with done from 0 to 1 of the whole, what every column is
    taken for, and every warning; of more rows than are kept, `rows(read, of)` while they are read, and what
    was kept of them."""

    step: Callable[[str, float], None]
    schema: Callable[[Sequence[Finding]], None]
    warning: Callable[[str], None]
    rows: Callable[[int, int], None] = untold
    drawn: Callable[[DataFacts], None] = _untold_facts


@dataclass(frozen=True)
class Prepared:
    """A job whose data has been read and found good, reference rows included. `held_out` and
    `validation` have their arrays and labels."""

    job: TrainingJob
    data: Dataset
    split: Split
    held_out: tuple[Arrays, np.ndarray] | None
    seconds: float
    validation: tuple[Arrays, np.ndarray] | None = None


def prepare(job: TrainingJob, watcher: Watcher, engine: LakeEngine = in_this_process) -> Prepared:
    """Read the data and split it; where rows are drawn the `engine` reads. Raises DataError, ConfigError or
    BundleError for what the user can mend; nothing is written."""
    started = time.perf_counter()
    watcher.step("read", 0.0)
    refuse_other_files(job.out)
    refuse_data_within(job.out, job.source, job.held_out, job.validation, job.reference)
    _refuse_useless_validation(job)
    data = load(
        job.source,
        job.label_column,
        job.recipe.columns,
        job.time_column,
        None,
        job.reading,
        watcher.rows,
        engine,
    )
    _refuse_uncounted(job, data)
    if data.facts.drawn_from is not None:
        watcher.drawn(data.facts)
    sample = None
    if job.reference is not None:
        sample = load_known_normal(
            job.reference, job.label_column, data.schema, job.reading, watcher.rows, engine
        )
    data, rows = lay_out(data, sample, job.seed)
    watcher.schema(data.findings)
    for warning in data.warnings:
        watcher.warning(warning)
    held_out = (
        load_labelled(job.held_out, job.label_column, data.schema, job.reading, watcher.warning)
        if job.held_out
        else None
    )
    if held_out is not None:
        both = shared_rows(data, held_out[0].numeric, held_out[0].codes)
        if both:
            watcher.warning(
                f"{both:,} of {len(held_out[1]):,} rows of {job.held_out} are in the training data too: what "
                "is measured on them is better than it will be on new ones"
            )
    validation = _validation(job, data, watcher) if job.validation else None
    return Prepared(job, data, rows, held_out, time.perf_counter() - started, validation)


def lay_out(data: Dataset, sample: KnownNormal | None, seed: int) -> tuple[Dataset, Split]:
    """Which rows are trained on and which judge, with what looks wrong among the data's warnings.

    Rows of a `sample` that is known to be normal judge, where there is one. Raises DataError.
    """
    data = replace(data, warnings=(*data.warnings, *suspicious(data)))
    if sample is None:
        return data, split(data, seed)
    trained_on = overlap(data, sample)
    data, rows = judged_by(data, sample, seed)
    if trained_on is not None:
        data = replace(data, warnings=(*data.warnings, trained_on))
    return data, rows


def _refuse_uncounted(job: TrainingJob, data: Dataset) -> None:
    if job.recipe.aggregates is None:
        return
    absent = [name for name in job.recipe.aggregates.features if name not in data.schema.names]
    if absent:
        raise DataError(
            f"{job.source} has no column {absent[0]!r}, which [aggregates] declares: train on what "
            f"`nearnorm aggregate {job.source} --schema FILE --out counted.parquet` writes"
        )


def _refuse_useless_validation(job: TrainingJob) -> None:
    if job.validation is None:
        return
    if job.recipe.fit.patience is None:
        raise ConfigError(
            f"--validation {job.validation}: this fit runs all of its epochs and stops by nothing, so that "
            'validation rows have no use: set preset = "paper" or a patience in [fit], or leave it out'
        )
    if job.validation == job.held_out:
        raise ConfigError(
            f"--validation and --held-out are both {job.validation}: a model is not measured on the rows "
            "that chose it; give two files"
        )


def _validation(job: TrainingJob, data: Dataset, watcher: Watcher) -> tuple[Arrays, np.ndarray]:
    source = str(job.validation)
    arrays, labels = load_validation(source, job.label_column, data.schema, job.reading, watcher.warning)
    both = shared_rows(data, arrays.numeric, arrays.codes)
    if both:
        watcher.warning(
            f"{both:,} of {len(labels):,} rows of the validation file {source} are trained on too: training "
            "stops too late by them, so leave them out of the training data"
        )
    return arrays, labels

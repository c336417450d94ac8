"""Data in, bundle out: fit, cross-fit, calibrate, export, report, write. Top to bottom."""

import hashlib
import importlib.metadata
import json
import os
import platform
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import torch

from nearnorm.models.bundle.bundle import MODEL, Bundle, write_bundle
from nearnorm.models.bundle.manifest import Core, Manifest, Seen, Tolerance
from nearnorm.models.bundle.review import REVIEW, reviewable, write_review
from nearnorm.models.conformal import ranks
from nearnorm.training.dataset.labels import ANOMALY
from nearnorm.training.dataset.load import Dataset, Split
from nearnorm.training.dataset.source import recorded
from nearnorm.training.evaluation.calibrate import calibrate, score
from nearnorm.training.evaluation.crossfit import CrossFit, cross_fit, measurable
from nearnorm.training.evaluation.groups import describe_groups
from nearnorm.training.evaluation.held_out import held_out, of_labels
from nearnorm.training.evaluation.seen import what_was_seen
from nearnorm.training.evaluation.training_rows import training_rows
from nearnorm.training.export.onnx_graph import ABSOLUTE, RELATIVE, assert_parity, golden_rows, to_onnx
from nearnorm.training.fitting.fit import Progress, TrainingSet, fit
from nearnorm.training.job import STAGES, Prepared, Watcher
from nearnorm.training.method.network import Detector
from nearnorm.training.reporting.report import MAP_ROWS, EmbeddedRows, Findings, report_html, report_json

FIT_STAGES = {
    "layer_1": (0.0, 0.15),
    "layer_2": (0.15, 0.3),
    "representation": (0.3, 0.5),
    "joint": (0.5, 1.0),
}
"""Which part of a fit each of its stages is."""
LIBRARIES = ("torch", "numpy", "onnx", "scikit-learn", "nearnorm")


class _Clock:
    """Seconds of each stage, in the order they ended."""

    def __init__(self, reading: float) -> None:
        self.seconds = {"read": reading}
        self._last = time.perf_counter()

    def ended(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage], self._last = now - self._last, now


@dataclass(frozen=True)
class Trained:
    """A model before it is written: `files` go beside it whatever is told, `findings` are for its report."""

    manifest: Manifest
    model: bytes
    files: dict[str, bytes]
    findings: Findings

    def with_report(self) -> dict[str, bytes]:
        """All files beside the model and its manifest, the report's among them."""
        started = time.perf_counter()
        html = report_html(self.findings).encode()
        told = replace(
            self.findings, seconds={**self.findings.seconds, "report": time.perf_counter() - started}
        )
        as_json = json.dumps(report_json(told), indent=1).encode()
        return {"report.html": html, **self.files, "report.json": as_json}


def train_bundle(prepared: Prepared, watcher: Watcher, crossed: CrossFit | None = None) -> Bundle:
    """Train a model on what was prepared and write its bundle to `job.out`, whole or not at all.

    `crossed` are ranks that were cross-fitted before, with the same recipe.
    """
    trained = train(prepared, watcher, crossed)
    watcher.step("report", STAGES["export"])
    bundle = write_bundle(prepared.job.out, trained.manifest, trained.model, trained.with_report())
    watcher.step("write", 1.0)
    return bundle


def train(prepared: Prepared, watcher: Watcher, crossed: CrossFit | None = None) -> Trained:
    """Train a model on what was prepared, and write nothing."""
    job, data, rows = prepared.job, prepared.data, prepared.split
    clock = _Clock(prepared.seconds)

    def fit_progress(progress: Progress) -> None:
        start, end = FIT_STAGES[progress.stage]
        done = start + (end - start) * min(progress.done, 1.0)
        watcher.step("fit", STAGES["read"] + (STAGES["fit"] - STAGES["read"]) * done)

    def evaluate_progress(done: float) -> None:
        watcher.step("evaluate", STAGES["fit"] + (STAGES["evaluate"] - STAGES["fit"]) * done)

    training = training_rows(data, rows.fit, data.labels[rows.fit])
    validation = _validation_rows(prepared, training)
    fitted = fit(training, job.recipe.fit, seed=job.seed, progress=fit_progress, validation=validation)
    detector = fitted.detector
    clock.ended("fit")

    numeric, codes = data.numeric[rows.reference], data.codes[rows.reference]
    scored = score(detector, numeric, codes)
    review = []  # rows that are known to be normal need none
    if rows.sample is None:
        review = reviewable(data.schema, numeric, codes, scored.score, scored.prototype)
    reference = calibrate(data.schema, numeric, codes, scored, review, rows.sample)
    evaluate_progress(0.0)
    if prepared.held_out is None:
        if crossed is None and measurable(data.labels[rows.fit]):
            crossed = cross_fit(
                data, rows, job.recipe.fit, job.seed, evaluate_progress, validation=validation
            )
        evidence = of_labels(data, rows, crossed)
    else:
        arrays, labels = prepared.held_out
        test_scores = score(detector, arrays.numeric, arrays.codes).score
        evidence = held_out(labels, ranks(test_scores, scored.score), reference.rows, reference.known_normal)
    clock.ended("evaluate")

    watcher.step("export", STAGES["evaluate"])
    model = to_onnx(detector)
    assert_parity(model, detector, numeric, codes)
    core = Core(
        files={MODEL: hashlib.sha256(model).hexdigest()},
        features=data.schema,
        prototypes=scored.similarity.shape[1],
        embedding=detector.prototypes.shape[1],
        data=data.facts,
        config=job.recipe.model_dump(mode="json"),
        seed=job.seed,
        libraries={name: importlib.metadata.version(name) for name in LIBRARIES},
        reference=reference,
        seen=_seen(data, scored.distance),
        groups=describe_groups(data.schema, numeric, codes, scored),
        golden=golden_rows(detector, numeric, codes, job.seed),
        tolerances={
            "CPUExecutionProvider": Tolerance(absolute=ABSOLUTE, relative=RELATIVE),
            "CUDAExecutionProvider": Tolerance(absolute=10 * ABSOLUTE, relative=10 * RELATIVE),
        },
        metrics=evidence.metrics,
    )
    clock.ended("export")

    manifest = Manifest(
        version=core.version,
        source=recorded(job.source),
        reading=job.reading,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        fit_seconds=fitted.fit_seconds,
        machine=f"{platform.machine()} {platform.system()}, {os.cpu_count()} CPUs",
        core=core,
        reference_source=recorded(job.reference) if job.reference else None,
        validation_source=recorded(job.validation) if job.validation else None,
    )
    findings = Findings(
        manifest=manifest,
        evidence=evidence,
        history=fitted.history,
        choices=fitted.choices,
        warnings=data.warnings,
        numeric=numeric,
        codes=codes,
        scored=scored,
        embedded=_embedded(detector, data, rows),
        seconds=clock.seconds,
    )
    return Trained(manifest, model, {REVIEW: write_review(review)} if review else {}, findings)


def _validation_rows(prepared: Prepared, like: TrainingSet) -> TrainingSet | None:
    if prepared.validation is None:
        return None
    arrays, labels = prepared.validation
    return replace(like, numeric=arrays.numeric, codes=arrays.codes, labels=labels)


def _seen(data: Dataset, distance: np.ndarray) -> Seen:
    known = data.labels != ANOMALY
    time = None if data.time is None else data.time[known]
    return what_was_seen(data.schema, data.numeric[known], data.codes[known], distance, time)


def _embedded(detector: Detector, data: Dataset, rows: Split) -> EmbeddedRows:
    """Some held-out rows, and every labelled anomaly up to as many, for the report's map."""
    anomalies = rows.fit[data.labels[rows.fit] == ANOMALY][:MAP_ROWS]
    shown = np.concatenate([rows.reference[:MAP_ROWS], anomalies])
    with torch.inference_mode():
        embedded = detector.embed(torch.from_numpy(data.numeric[shown]), torch.from_numpy(data.codes[shown]))
        prototypes = detector.prototypes
        nearest = torch.cdist(embedded, prototypes).argmin(1)
    return EmbeddedRows(
        rows=embedded.numpy(),
        prototypes=prototypes.numpy(),
        nearest=nearest.numpy(),
        anomalous=data.labels[shown] == ANOMALY,
    )

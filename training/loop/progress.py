"""What a retraining tells of itself: a JSON object a line on stdout, which the worker reads."""

import json
import sys

SNAPSHOT, MEASURED, TRAINED = 0.05, 0.4, 0.95
"""The share of the whole that is done when a stage ends."""


def report_progress(stage: str, progress: float) -> None:
    _write_line(stage=stage, progress=round(progress, 3))


def report_evaluation(done: float) -> None:
    report_progress("evaluate", SNAPSHOT + (MEASURED - SNAPSHOT) * done)


def report_training(stage: str, done: float) -> None:
    report_progress(stage, MEASURED + (TRAINED - MEASURED) * done)


def warn(text: str) -> None:
    _write_line(warning=text)


def _write_line(**event: object) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()

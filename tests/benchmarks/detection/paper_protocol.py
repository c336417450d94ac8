"""The protocol of the paper's authors (P): 60% of each class to train on, 5% to validate by, 35% to test on.

1% of the training anomalies, rounded up, the first ones, are labelled; every label of the validation part is
true. Only the training's seed varies.
"""

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score
from sklearn.model_selection import train_test_split

from nearnorm.training.dataset.load import load
from nearnorm.training.dataset.validation import load_validation
from nearnorm.training.evaluation.calibrate import score
from nearnorm.training.evaluation.training_rows import training_rows
from nearnorm.training.fitting.fit import TrainingSet
from nearnorm.training.method.network import Detector
from tests.benchmarks.sets.protocol import bench_part, of_bench

SETS = ("11_donors", "26_optdigits", "38_thyroid", "5_campaign")
REST, VALIDATION, SEED = 0.40, 0.05, 2024
LABELLED = 0.01


@dataclass(frozen=True)
class PaperSplit:
    """What is trained on, what may choose when to stop, and what is tested."""

    training: TrainingSet
    validation: TrainingSet
    test: TrainingSet

    def tested(self, detector: Detector) -> float:
        """Average precision on the test part."""
        return precision_on(self.test, detector)


def precision_on(rows: TrainingSet, detector: Detector) -> float:
    """Average precision of a detector's scores on labelled rows."""
    return float(average_precision_score(rows.labels, score(detector, rows.numeric, rows.codes).score))


def paper_split(name: str) -> PaperSplit:
    """One data set, read as the product reads files."""
    bench = of_bench("wsad_data")
    frame, truth = bench.load(bench_part("data"), name)
    frame, truth = bench.cap(frame, truth, REST - VALIDATION)
    parts = [_parts(np.flatnonzero(truth == label)) for label in (0, 1)]
    train, test, validation = (np.concatenate(both) for both in zip(*parts, strict=True))
    known = np.full(len(train), np.nan)
    anomalies = np.flatnonzero(truth[train] == 1)
    known[anomalies[: math.ceil(LABELLED * len(anomalies))]] = 1.0
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / f"{part}.parquet") for part in ("train", "validation", "test")]
        labels = (known, truth[validation], truth[test])
        for file, rows, label in zip(files, (train, validation, test), labels, strict=True):
            frame.iloc[rows].assign(label=label).to_parquet(file, index=False)
        data = load(files[0], "label")
        judged = [load_validation(file, "label", data.schema) for file in files[1:]]
    training = training_rows(data, np.arange(len(data.labels)), data.labels)
    others = [
        TrainingSet(arrays.numeric, arrays.codes, training.cardinalities, labels, training.times)
        for arrays, labels in judged
    ]
    return PaperSplit(training, *others)


def _parts(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training, test and validation rows of one class."""
    train, rest = train_test_split(rows, test_size=REST, random_state=SEED)
    return train, *train_test_split(rest, test_size=VALIDATION / REST, random_state=SEED)

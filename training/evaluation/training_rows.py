"""Rows of a data set as a fit takes them."""

import numpy as np

from nearnorm.training.dataset.load import Dataset
from nearnorm.training.fitting.fit import TrainingSet


def training_rows(data: Dataset, rows: np.ndarray, labels: np.ndarray) -> TrainingSet:
    """The rows of these numbers, with labels of their own."""
    return TrainingSet(data.numeric[rows], data.codes[rows], data.cardinalities, labels, data.schema.times)

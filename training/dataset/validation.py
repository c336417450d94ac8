"""Labelled validation rows: they choose when training stops, and are never trained on."""

from collections.abc import Callable

import numpy as np

from nearnorm.models.bundle.manifest import Reading
from nearnorm.models.data.files.read import ignore
from nearnorm.models.data.schema import FeatureSchema
from nearnorm.models.data.tables import Arrays
from nearnorm.models.errors import DataError
from nearnorm.training.dataset.labels import ANOMALY, NORMAL, UNLABELLED
from nearnorm.training.dataset.load import AS_FOUND, FEWEST_ROWS, load_labelled


def load_validation(
    source: str,
    label_column: str,
    schema: FeatureSchema,
    reading: Reading = AS_FOUND,
    warn: Callable[[str], object] = ignore,
) -> tuple[Arrays, np.ndarray]:
    """Read a file by the schema of a model, every row of which is labelled: labels [V] are 1 or 0.

    Raises DataError for a row without a label, no anomaly, or fewer than FEWEST_ROWS normal rows.
    """
    arrays, labels = load_labelled(source, label_column, schema, reading, warn)
    unlabelled = np.flatnonzero(labels == UNLABELLED)
    if len(unlabelled):
        raise DataError(
            f"{source}: row {unlabelled[0] + 1} has no label ({len(unlabelled):,} rows have none): "
            f"validation rows are all labelled, 1 or 0 in {label_column!r}"
        )
    if not (labels == ANOMALY).any():
        raise DataError(f"{source} has no anomaly: validation rows are anomalies and normal rows")
    normals = int((labels == NORMAL).sum())
    if normals < FEWEST_ROWS:
        raise DataError(f"{source} has {normals} normal rows: {FEWEST_ROWS} are the least for validation")
    return arrays, labels

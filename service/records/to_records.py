"""Arrays -> records: many rows as the model read them, at once. One row: `Encoder.record`."""

from collections.abc import Mapping

import numpy as np

from nearnorm.models.schema import FIRST_CODE, FeatureSchema, Kind
from nearnorm.service.records.encoder import Rows

Value = float | bool | str | None


def records(
    schema: FeatureSchema, rows: Rows, unknown: Mapping[int, Mapping[str, str]]
) -> list[dict[str, Value]]:
    """One record a row, names in order: None is missing, -0 is 0. `unknown`: texts of categories, by row."""
    width = len(schema.numeric)
    cells = np.empty((len(rows), len(schema.scored)), object)
    cells[:, :width] = rows.numeric + 0.0
    for j, feature in enumerate(schema.numeric):
        if feature.kind is Kind.BOOLEAN:
            cells[:, j] = rows.numeric[:, j] != 0.0
    cells[:, :width][np.isnan(rows.numeric)] = None
    for j, feature in enumerate(schema.categorical, width):
        texts = np.array([*[None] * FIRST_CODE, *feature.categories], object)
        cells[:, j] = texts[rows.codes[:, j - width]]
    names = [feature.name for feature in schema.scored]
    order = sorted(range(len(names)), key=names.__getitem__)
    names.sort()
    found = [dict(zip(names, row, strict=True)) for row in cells[:, order].tolist()]
    for index, spelled in unknown.items():
        found[index].update(spelled)
    return found

"""Arrays -> records: many rows as the model read them, at once. One row: the encoder's `record`."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nearnorm.models.data.schema import FIRST_CODE, Feature, FeatureSchema, Kind
from nearnorm.models.data.times import spelled

Value = float | bool | str | None


def value_of(feature: Feature, number: float) -> Value:
    """A number of a model's arrays as a caller would send it; NaN is None."""
    if number != number:
        return None
    if feature.kind is Kind.BOOLEAN:
        return bool(number)
    return number if feature.format is None else spelled(number, feature.format)


def records(
    schema: FeatureSchema,
    numeric: NDArray[np.float64],
    codes: NDArray[np.int64],
    unknown: Mapping[int, Mapping[str, str]],
) -> list[dict[str, Value]]:
    """One record a row of `numeric` [N, Dn] and `codes` [N, Dc], names in order: None is missing, -0 is 0.

    `unknown`: texts of categories that the schema does not know, by row; without one it reads as missing.
    """
    width = len(schema.numeric)
    cells = np.empty((len(numeric), len(schema.scored)), object)
    cells[:, :width] = numeric + 0.0
    for j, feature in enumerate(schema.numeric):
        if feature.kind is Kind.BOOLEAN:
            cells[:, j] = numeric[:, j] != 0.0
        elif feature.format is not None:
            cells[:, j] = [value_of(feature, number) for number in numeric[:, j].tolist()]
    cells[:, :width][np.isnan(numeric)] = None
    for j, feature in enumerate(schema.categorical, width):
        texts = np.array([*[None] * FIRST_CODE, *feature.categories], object)
        cells[:, j] = texts[codes[:, j - width]]
    names = [feature.name for feature in schema.scored]
    order = sorted(range(len(names)), key=names.__getitem__)
    names.sort()
    found = [dict(zip(names, row, strict=True)) for row in cells[:, order].tolist()]
    for index, texts_of in unknown.items():
        found[index].update(texts_of)
    return found

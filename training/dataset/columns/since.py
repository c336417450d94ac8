"""From which other times one is counted: a payment from the birth of who pays, a click from its login."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from nearnorm.models.data.schema import Feature, FeatureSchema
from nearnorm.models.data.tables import to_arrays
from nearnorm.models.data.times import TimeFormat

MOST_TIMES = 6
AFTER = 0.95
"""Of the rows that have both: so many times are later than the others that are counted from them."""


def propose_since(table: pa.Table, times: Sequence[Feature]) -> Mapping[str, tuple[str, ...]]:
    """By name: the time that mostly comes last, counted since each other that it does not go along with."""
    dated = [f for f in times if f.format is not TimeFormat.CLOCK][:MOST_TIMES]
    if len(dated) < 2:
        return {}
    numeric = to_arrays(
        table, FeatureSchema(features=tuple(f.model_copy(update={"since": ()}) for f in dated))
    ).numeric
    for j, feature in enumerate(dated):
        passed = numeric[:, [j]] - np.delete(numeric, j, axis=1)
        if all(_mostly_after(column[~np.isnan(column)]) for column in passed.T):
            others = [f.name for i, f in enumerate(dated) if i != j]
            spread = [len(np.unique(column[~np.isnan(column)])) > 1 for column in passed.T]
            since = tuple(name for name, differs in zip(others, spread, strict=True) if differs)
            return {feature.name: since} if since else {}
    return {}


def _mostly_after(passed: np.ndarray) -> bool:
    return len(passed) > 0 and float((passed >= 0).mean()) >= AFTER

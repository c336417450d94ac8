"""A column's distinct values and how many rows have each."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class DistinctValues:
    """`values` [N] are none of them null, `counts` [N] the rows of each; `column` has `rows_in_all`, each of
    which stands for so many rows of the data, where they were drawn."""

    name: str
    column: pa.ChunkedArray
    values: pa.Array
    counts: np.ndarray
    stands_for: float = 1.0

    @property
    def rows(self) -> int:
        """Rows that have a value."""
        return int(self.counts.sum())

    @property
    def rows_in_all(self) -> int:
        return len(self.column)

    @property
    def is_text(self) -> bool:
        return bool(pa.types.is_string(self.values.type))

    @cached_property
    def texts(self) -> list[str]:
        found: list[str] = self.values.to_pylist()
        return found

    def share(self, chosen: np.ndarray) -> float:
        """Of the rows with a value, those that have one of the chosen [N]."""
        return float(self.counts[chosen].sum() / max(self.rows, 1))

    def chosen(self, chosen: np.ndarray) -> "DistinctValues":
        values, counts = self.values.filter(pa.array(chosen)), self.counts[chosen]
        return replace(self, values=values, counts=counts)

    def without(self, marks: tuple[str, ...]) -> "DistinctValues":
        """Those that are none of the marks."""
        if not (marks and self.is_text):
            return self
        return self.chosen(~np.isin([text.strip() for text in self.texts], marks))


def distinct_values(name: str, column: pa.ChunkedArray, stands_for: float = 1.0) -> DistinctValues | None:
    """None for a column whose values cannot be told apart: lists, structs, bytes."""
    kind = column.type
    if pa.types.is_nested(kind) or pa.types.is_binary(kind):
        return None
    counted = pc.value_counts(column.drop_null())
    values = counted.field("values")
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    return DistinctValues(name, column, values, counted.field("counts").to_numpy(), stands_for)

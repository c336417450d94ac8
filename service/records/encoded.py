"""What a request's rows became: arrays, and what is told of each row beside them."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from nearnorm.service.records.identifiers import Ids
from nearnorm.service.records.kept_columns import KeptColumns
from nearnorm.service.records.shapes import RowProblem


class Rows(Struct, eq=False):
    """What a model sees: numeric [N, Dn] float64, NaN = missing; codes [N, Dc] int64."""

    numeric: NDArray[np.float64]
    codes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.numeric)

    def part(self, start: int, stop: int) -> "Rows":
        return Rows(self.numeric[start:stop], self.codes[start:stop])

    def take(self, rows: list[int]) -> "Rows":
        return Rows(self.numeric[rows], self.codes[rows])


def gathered(items: Sequence[Rows]) -> Rows:
    """All rows of the items, one item after the other."""
    if len(items) == 1:
        return items[0]
    numeric = np.concatenate([item.numeric for item in items])
    if not items[0].codes.shape[1]:
        return Rows(numeric, np.empty((len(numeric), 0), np.int64))
    return Rows(numeric, np.concatenate([item.codes for item in items]))


class Encoded(Struct, eq=False):
    """`rows` are those without an error; `kept` are their places among the `count` sent (None: all).

    `imputed` names the missing features of a place, `unknown` the categories that training never saw;
    `ids` are the caller's, by place, and `beside` what the schema keeps of columns outside the model.
    """

    rows: Rows
    count: int
    kept: list[int] | None = None
    errors: dict[int, RowProblem] = {}
    imputed: dict[int, list[str]] = {}
    unknown: dict[int, dict[str, str]] = {}
    warnings: list[str] = []
    ids: Ids | None = None
    beside: KeptColumns | None = None

    @property
    def whole(self) -> bool:
        """Whether there is nothing to add to any row."""
        return not (self.errors or self.imputed or self.unknown or self.warnings) and self.ids is None

    @property
    def remarks(self) -> list[str]:
        """What is to be said of the rows as a whole: the warnings, and rows of which nothing is known."""
        features = self.rows.numeric.shape[1] + self.rows.codes.shape[1]
        empty = [place for place, names in self.imputed.items() if len(names) == features > 1]
        if not empty:
            return self.warnings
        which = "the record holds" if self.count == 1 else f"row {empty[0]} holds"
        if len(empty) > 1:
            which = f"{len(empty):,} rows (row {empty[0]} is the first) hold"
        return [*self.warnings, f"{which} no value that the model reads: all count as missing"]

    def cut(self, start: int, stop: int) -> "Encoded":
        """Some of `rows`, and what is kept with them, still by place."""
        kept = list(self.places()[start:stop])
        rows = self.rows.part(start, stop)
        return Encoded(rows, self.count, kept, unknown=self.unknown, ids=self.ids, beside=self.beside)

    def places(self) -> Sequence[int]:
        """The place of every one of `rows` among the rows sent."""
        return range(self.count) if self.kept is None else self.kept

"""What a batch came to, and the part of it that belongs to one request."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from nearnorm.service.inference.outputs import Outputs, concatenated
from nearnorm.service.records.encoded import Rows
from nearnorm.service.verdict.novelty import Novel


class Batch(Struct, eq=False):
    """Rows that ran together: the model's arrays, and once more as lists what every answer tells.

    `event_ids` are those of rows that are kept, by row; `watched` is set once drift has seen them; `written`
    are results as JSON, once an answer has asked for them.
    """

    rows: Rows
    outputs: Outputs
    score: list[float]
    percentile: list[float]
    anomaly: list[bool]
    prototype: list[int]
    distance: list[float]
    reconstruction_error: list[float]
    novel: Novel
    event_ids: dict[int, str] = {}
    watched: bool = False
    written: list[bytes] | None = None


class Scores(Struct, eq=False):
    """Rows `start` to `stop` of a batch. `anomaly` is the request's own: analysts may overrule it."""

    batch: Batch
    start: int
    stop: int
    percentile: list[float]
    anomaly: list[bool]

    def __len__(self) -> int:
        return self.stop - self.start

    def cut(self, start: int, stop: int) -> "Scores":
        """Some of these rows, as if they were a request of their own."""
        stop = min(stop, len(self))
        first = self.start
        return Scores(
            self.batch, first + start, first + stop, self.percentile[start:stop], self.anomaly[start:stop]
        )

    @property
    def novel(self) -> Novel:
        """By row of the request."""
        found = self.batch.novel
        if not found or len(self) == len(self.batch.score):
            return found
        return {row - self.start: found[row] for row in found if self.start <= row < self.stop}

    @property
    def scored(self) -> NDArray[np.float32]:
        """[N], as the model gave them."""
        return self.batch.outputs.score[self.start : self.stop]

    @property
    def score(self) -> list[float]:
        return self.batch.score[self.start : self.stop]

    @property
    def prototype(self) -> list[int]:
        return self.batch.prototype[self.start : self.stop]

    @property
    def distance(self) -> list[float]:
        return self.batch.distance[self.start : self.stop]

    @property
    def reconstruction_error(self) -> list[float]:
        return self.batch.reconstruction_error[self.start : self.stop]


def joined(rows: Rows, parts: Sequence[Scores]) -> Scores:
    """One request's parts as one, when its `rows` were more than a batch takes."""
    outputs = concatenated([part.batch.outputs.part(part.start, part.stop) for part in parts])

    def all_of(name: str) -> list[Any]:
        return list(chain.from_iterable(getattr(part, name) for part in parts))

    percentile, anomaly = all_of("percentile"), all_of("anomaly")
    novel: dict[int, tuple[int, ...]] = {}
    first = 0
    for part in parts:
        novel |= {first + row: signals for row, signals in part.novel.items()}
        first += len(part)
    batch = Batch(
        rows,
        outputs,
        all_of("score"),
        percentile,
        anomaly,
        all_of("prototype"),
        all_of("distance"),
        all_of("reconstruction_error"),
        novel,
    )
    return Scores(batch, 0, len(rows), percentile, anomaly)

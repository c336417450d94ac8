"""A model's outputs: one array a name, one row a record."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray


class Outputs(Struct):
    """A model's answers to N rows; `residual` is ordered as the schema's scored features."""

    score: NDArray[np.float32]
    similarity: NDArray[np.float32]
    prototype: NDArray[np.int64]
    distance: NDArray[np.float32]
    reconstruction_error: NDArray[np.float32]
    residual: NDArray[np.float32]

    def part(self, start: int, stop: int) -> "Outputs":
        return Outputs(*(getattr(self, name)[start:stop] for name in self.__struct_fields__))

    def take(self, rows: list[int]) -> "Outputs":
        return Outputs(*(getattr(self, name)[rows] for name in self.__struct_fields__))


def concatenated(parts: Sequence[Outputs]) -> Outputs:
    """The answers of all parts, one after the other."""
    return Outputs(*(np.concatenate([getattr(p, name) for p in parts]) for name in Outputs.__struct_fields__))

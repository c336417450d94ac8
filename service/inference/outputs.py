"""A model's outputs: one array a name, one row a record."""

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

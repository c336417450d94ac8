"""Which rows are equal: as the model sees them."""

import numpy as np


def row_keys(numeric: np.ndarray, codes: np.ndarray) -> list[bytes]:
    """Equal rows of `numeric` [N, Dn] and `codes` [N, Dc] have equal keys [N]; -0.0 is 0.0."""
    numeric = numeric + 0.0
    return [a.tobytes() + b.tobytes() for a, b in zip(numeric, codes, strict=True)]

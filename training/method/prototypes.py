"""Prototypes of normal: k-means over the embeddings of normal rows (stage 2 of the method)."""

import numpy as np
from sklearn.cluster import KMeans

MOST_ROWS = 10_000
"""Rows that k-means learns from."""


def find_prototypes(embeddings: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` prototypes [K, E'] of embeddings [N, E'], or as many as there are distinct rows."""
    some = draw_rows(embeddings, rng)
    centres: np.ndarray = kmeans(some, min(count, distinct(some)), rng).cluster_centers_
    return centres


def draw_rows(embeddings: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """At most MOST_ROWS of them."""
    if len(embeddings) <= MOST_ROWS:
        return embeddings
    return embeddings[rng.choice(len(embeddings), MOST_ROWS, replace=False)]


def distinct(embeddings: np.ndarray) -> int:
    return len(np.unique(embeddings, axis=0))


def kmeans(embeddings: np.ndarray, count: int, rng: np.random.Generator) -> KMeans:
    seed = int(rng.integers(2**31))
    return KMeans(count, n_init=4, random_state=seed).fit(embeddings)

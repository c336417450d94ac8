"""Prototypes of normal: k-means over the embeddings of normal rows (stage 2 of the method)."""

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

CANDIDATES = range(2, 11)
SILHOUETTE_ROWS = 1_000
KMEANS_ROWS = 10_000


def find_prototypes(
    embeddings: np.ndarray, count: int | None, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, float]]:
    """Prototypes [K, E'] of embeddings [N, E'], and the silhouettes that chose K ("": none did).

    K is `count`, or the best silhouette among 2..10; never more than there are distinct rows.
    """
    if len(embeddings) > KMEANS_ROWS:
        embeddings = embeddings[rng.choice(len(embeddings), KMEANS_ROWS, replace=False)]
    distinct = len(np.unique(embeddings, axis=0))
    if count is not None:
        return _kmeans(embeddings, min(count, distinct), rng).cluster_centers_, {}
    sample = rng.permutation(len(embeddings))[:SILHOUETTE_ROWS]
    fits, silhouettes = {}, {}
    for k in CANDIDATES:
        if k >= distinct:
            break
        fits[k] = _kmeans(embeddings, k, rng)
        found = fits[k].labels_[sample]
        if 1 < len(np.unique(found)) < len(sample):
            silhouettes[str(k)] = float(silhouette_score(embeddings[sample], found))
    if not silhouettes:
        return _kmeans(embeddings, 1, rng).cluster_centers_, {}
    best = max(silhouettes, key=lambda k: silhouettes[k])
    return fits[int(best)].cluster_centers_, silhouettes


def _kmeans(embeddings: np.ndarray, count: int, rng: np.random.Generator) -> KMeans:
    seed = int(rng.integers(2**31))
    return KMeans(count, n_init=4, random_state=seed).fit(embeddings)

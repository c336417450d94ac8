"""Prototypes of normal: k-means over the embeddings of normal rows (stage 2 of the method)."""

import numpy as np

MOST_ROWS = 10_000
"""Rows that k-means learns from."""
STARTS = 4
"""The best of so many is taken."""
MOST_STEPS = 300


def find_prototypes(embeddings: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` prototypes [K, E'] of embeddings [N, E'], or as many as there are distinct rows."""
    some = draw_rows(embeddings, rng)
    return kmeans(some, min(count, distinct(some)), rng)


def draw_rows(embeddings: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """At most MOST_ROWS of them."""
    if len(embeddings) <= MOST_ROWS:
        return embeddings
    return embeddings[rng.choice(len(embeddings), MOST_ROWS, replace=False)]


def distinct(embeddings: np.ndarray) -> int:
    return len(np.unique(embeddings, axis=0))


def kmeans(embeddings: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Centres [K, E'] of embeddings [N, E'], which have as many distinct rows: the least sum of squared
    distances that Lloyd's steps come to from STARTS k-means++ draws."""
    middle = embeddings.mean(0, dtype=np.float64)
    rows = embeddings - middle
    tried = [_settle(rows, _spread_out(rows, count, rng)) for _ in range(STARTS)]
    best = min(tried, key=lambda centres: float(_squared(rows, centres).min(1).sum()))
    centres: np.ndarray = (best + middle).astype(embeddings.dtype)
    return centres


def nearest(embeddings: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The centre that each row is nearest to, [N]."""
    place: np.ndarray = _squared(embeddings, centres).argmin(1)
    return place


def _spread_out(embeddings: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Rows to start from: each is drawn by its squared distance to those before it."""
    chosen = [embeddings[rng.integers(len(embeddings))]]
    squared = np.full(len(embeddings), np.inf)
    while len(chosen) < count:
        squared = np.minimum(squared, np.square(embeddings - chosen[-1]).sum(1))
        chosen.append(embeddings[rng.choice(len(squared), p=squared / squared.sum())])
    return np.stack(chosen)


def _settle(embeddings: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Lloyd's steps, until no row changes its centre; a centre that loses all of its rows stays."""
    place = nearest(embeddings, centres)
    for _ in range(MOST_STEPS):
        member = np.eye(len(centres))[place]
        rows = member.sum(0)[:, None]
        centres = np.where(rows > 0, member.T @ embeddings / np.maximum(rows, 1), centres)
        before, place = place, nearest(embeddings, centres)
        if (place == before).all():
            break
    return centres


def _squared(embeddings: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Squared distances [N, K]."""
    lengths = np.square(embeddings).sum(1)[:, None] + np.square(centres).sum(1)
    squared: np.ndarray = np.maximum(lengths - 2.0 * embeddings @ centres.T, 0.0)
    return squared

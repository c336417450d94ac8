"""What the preset `paper` does in its own way: the number of prototypes, and the weights of the losses.

Its knobs are in config.py, its layer-wise pre-training in fitting/layerwise.py.
"""

import numpy as np
import torch
from torch import Tensor

from nearnorm.training.method.prototypes import distinct, draw_rows, kmeans, nearest

CANDIDATES = range(2, 11)
SILHOUETTE_ROWS = 1_000
TEMPERATURE = 2.0
"""T of dynamic weight averaging."""


def choose_prototypes(
    embeddings: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, float]]:
    """Prototypes [K, E'] of embeddings [N, E'], and the silhouettes of every K that was tried.

    K is the best among 2..10; one where none can be tried.
    """
    from sklearn.metrics import silhouette_score  # a second of processor time, which `default` has no use for

    embeddings = draw_rows(embeddings, rng)
    most = distinct(embeddings)
    sample = rng.permutation(len(embeddings))[:SILHOUETTE_ROWS]
    fits, silhouettes = {}, {}
    for k in CANDIDATES:
        if k >= most:
            break
        fits[k] = kmeans(embeddings, k, rng)
        found = nearest(embeddings[sample], fits[k])
        if 1 < len(np.unique(found)) < len(sample):
            silhouettes[str(k)] = float(silhouette_score(embeddings[sample], found))
    if not silhouettes:
        return kmeans(embeddings, 1, rng), {}
    best = max(silhouettes, key=lambda k: silhouettes[k])
    return fits[int(best)], silhouettes


class LossWeights:
    """Dynamic weight averaging: a loss that falls slower than the others gets more weight.

    weight_j = softmax_j (L_j / L_j,previous / T), L_j of this batch, L_j,previous the last epoch's
    mean (1 in the first epoch).
    """

    def __init__(self) -> None:
        self._previous: dict[str, float] = {}

    def combine(self, losses: dict[str, Tensor]) -> Tensor:
        """The weighted sum, weights adding to 1."""
        values = torch.stack(list(losses.values()))
        before = torch.tensor([self._previous.get(name, 1.0) for name in losses])
        return (torch.softmax(values / before / TEMPERATURE, 0) * values).sum()

    def end_epoch(self, means: dict[str, float]) -> None:
        self._previous = {name: max(mean, 1e-8) for name, mean in means.items()}

"""Batches: rows drawn with replacement, from one seeded stream of random numbers."""

import torch
from torch import Tensor

UNLABELLED_BATCH = 128
LABELLED_BATCH = 8


class Sampler:
    """Every random number of the training steps comes from here, in a fixed order."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def rows(self, source: Tensor, count: int) -> Tensor:
        """`count` rows of source [N, ...] with replacement; none if there are none."""
        if len(source) == 0:
            return source
        return source[torch.randint(len(source), (count,), generator=self.generator)]

    def noise(self, like: Tensor, scale: float) -> Tensor:
        return scale * torch.randn(like.shape, generator=self.generator)

    def shares(self, count: int) -> Tensor:
        """Mixing shares in [0, 1)."""
        return torch.rand(count, generator=self.generator)

"""Layers of several members at once: one batched matrix product instead of M small ones."""

import math

import torch
from torch import Tensor, nn

SLOPE = 0.01
"""LeakyReLU's slope in encoder, decoder and head."""


class MemberLinear(nn.Module):
    """M affine maps side by side: [N, I] or [M, N, I] -> [M, N, O]."""

    def __init__(self, members: int, inputs: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(max(inputs, 1))
        self.weight = nn.Parameter(
            torch.empty(members, inputs, outputs).uniform_(-bound, bound, generator=generator)
        )
        self.bias = nn.Parameter(
            torch.empty(members, 1, outputs).uniform_(-bound, bound, generator=generator)
        )

    def forward(self, rows: Tensor) -> Tensor:
        product: Tensor = rows @ self.weight
        return product + self.bias


def leaky(x: Tensor) -> Tensor:
    return nn.functional.leaky_relu(x, SLOPE)

"""Heads: what turns a record's evidence into the logit of the unified score."""

import numpy as np
import torch
from torch import Tensor, nn

from nearnorm.training.method.ensemble import MemberLinear, leaky
from nearnorm.training.method.forest.trees import DEPTH, Trees

HEAD_WIDTH = 16
CONFIDENT = 4.0
"""The MLP's logit is cut at this size: far from all that was trained on, its straight lines go anywhere."""
STEEP = 2.0**10
"""How fast an answer about an input goes from 0 to 1 beyond its threshold."""
RAMP = 0.05
"""An answer about r or q* takes this width of a logarithm, 5% of the value: rounding moves both a
little from batch to batch, and must not move a score by a leaf."""
TINY = 1e-6
ALONE = [2**level - 1 for level in range(DEPTH)]
"""Of the subsets of a tree's questions, by number less one, those of one question."""
SEVERAL = [subset for subset in range(2**DEPTH - 1) if subset not in ALONE]
TOGETHER = torch.tensor([[float(subset + 1 >> bit & 1) for bit in range(DEPTH)] for subset in SEVERAL])
"""Which questions are in each subset of several, [2^DEPTH - DEPTH - 1, DEPTH]."""


def soft_evidence(error: Tensor, similarity: Tensor) -> Tensor:
    """log r and log(1 + d²) = -log q*, [N, 2]: how far a record is from normal, twice."""
    return torch.stack([(error + TINY).log(), -similarity.log()], dim=1)


class ScoreHead(nn.Module):
    """Logits of the unified score: MLP([z, r, q*])."""

    def __init__(self, members: int, embedding: int, generator: torch.Generator) -> None:
        super().__init__()
        self.own = MemberLinear(members, embedding, HEAD_WIDTH, generator)
        self.shared = MemberLinear(members, 2, HEAD_WIDTH, generator)
        self.out = MemberLinear(members, HEAD_WIDTH, 1, generator)

    def forward(self, z: Tensor, error: Tensor, similarity: Tensor, rows: Tensor) -> Tensor:
        """z [M, N, E], error r [N], similarity q* [N] -> logits [M, N]. Other heads see rows [N, D] too."""
        evidence = torch.stack([error, similarity], dim=1)
        logits: Tensor = self.out(leaky(self.own(z) + self.shared(evidence)))
        return logits.squeeze(-1)


class ForestHead(nn.Module):
    """ScoreHead's mean logit and a forest's over [input, log r, -log q*], as one logit.

    A tree's value is sum_S c_S max(0, 1 - |S| + sum_{j in S} answer_j) over all subsets S of its questions:
    whether all of S are answered by yes, and in between where answers are. All trees have the same subsets,
    so that a forest is three matrix products.
    """

    weights: Tensor
    offsets: Tensor
    coefficients: Tensor
    constant: Tensor

    def __init__(self, score: ScoreHead, trees: Trees, width: int, share: float) -> None:
        """`share`: the trees' part of the logit, of these and of others beside them."""
        super().__init__()
        self.score = score
        self.share = share
        count = len(trees.column)
        slope = np.where(trees.column < width, STEEP, 1.0 / RAMP)
        weights = np.zeros((DEPTH, width + 2, count))
        for level in range(DEPTH):
            weights[level, trees.column[:, level], range(count)] = slope[:, level]
        offsets = np.where(trees.column < width, 0.0, 0.5) - slope * trees.threshold
        # leaves -> coefficients: take the lower half from the upper, bit by bit
        coefficients = trees.leaf.reshape(count, *[2] * DEPTH).copy()
        for axis in range(1, DEPTH + 1):
            low, high = np.moveaxis(coefficients, axis, 0)
            high -= low
        coefficients = coefficients.reshape(count, 2**DEPTH).T
        tables = {
            "weights": weights,
            "offsets": offsets.T,
            "coefficients": share * coefficients[1:],
            "constant": share * coefficients[0].sum(),
        }
        for name, table in tables.items():
            self.register_buffer(name, torch.tensor(table, dtype=torch.float32))

    def forward(self, z: Tensor, error: Tensor, similarity: Tensor, rows: Tensor) -> Tensor:
        """As ScoreHead, with one logit a row: [1, N]."""
        smooth = self.score(z, error, similarity, rows).mean(0, keepdim=True).clamp(-CONFIDENT, CONFIDENT)
        asked = torch.cat([rows, soft_evidence(error, similarity)], dim=1)
        answers = torch.stack(
            [
                torch.addmm(offset, asked, weight).clamp(0.0, 1.0)
                for weight, offset in zip(self.weights, self.offsets, strict=True)
            ]
        )
        together = torch.einsum("sq,qnt->snt", TOGETHER, answers)
        together = torch.relu(together + (1.0 - TOGETHER.sum(1))[:, None, None])
        stepped = self.constant
        for part, subsets in ((answers, ALONE), (together, SEVERAL)):
            stepped = stepped + torch.einsum("snt,st->n", part, self.coefficients[subsets])
        logit: Tensor = (1.0 - self.share) * smooth + stepped
        return logit

"""Heads: what turns a record's evidence into the logit of the unified score."""

import torch
from torch import Tensor, nn

from training.members import MemberLinear, leaky
from training.trees import Trees

HEAD_WIDTH = 16
RAMP = 0.05
"""A soft question's answer goes from 0 to 1 over this width (of a logarithm): 5% of a value."""
HARD = 1e6
"""The slope of an answer that is soft in name only: inputs do not change from batch to batch."""
FOREST_SHARE = 0.6
TINY = 1e-6


def soft_evidence(error: Tensor, similarity: Tensor) -> Tensor:
    """log r and log(1 + d²) = -log q*, [N, 2]: how far a record is from normal, twice."""
    return torch.stack([(error + TINY).log(), -similarity.log()], dim=1)


class ScoreHead(nn.Module):
    """Logits of the unified score: MLP([z, r, q*]), and for `skip` a linear map of the input."""

    def __init__(
        self, members: int, embedding: int, width: int, skip: bool, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.own = MemberLinear(members, embedding, HEAD_WIDTH, generator)
        self.shared = MemberLinear(members, 2, HEAD_WIDTH, generator)
        self.out = MemberLinear(members, HEAD_WIDTH, 1, generator)
        self.skip = MemberLinear(members, width, 1, generator) if skip else None

    def forward(self, z: Tensor, error: Tensor, similarity: Tensor, rows: Tensor) -> Tensor:
        """z [M, N, E], error r [N], similarity q* [N], rows [N, D] -> logits [M, N]."""
        evidence = torch.stack([error, similarity], dim=1)
        logits: Tensor = self.out(leaky(self.own(z) + self.shared(evidence)))
        if self.skip is not None:
            logits = logits + self.skip(rows)
        return logits.squeeze(-1)


class ForestHead(nn.Module):
    """ScoreHead's mean logit and a forest's over [input, log r, -log q*], as one logit.

    The first question of a tree is answered softly: rounding moves r and q* a little from batch to
    batch, and must not move a score by a leaf.
    """

    columns: Tensor
    first_cuts: Tensor
    first_scale: Tensor
    cuts: Tensor
    bits: Tensor
    base: Tensor
    leaves: Tensor

    def __init__(self, score: ScoreHead, trees: Trees, width: int) -> None:
        super().__init__()
        self.score = score
        count, depth = trees.column.shape
        pairs = torch.tensor(trees.leaf).reshape(count, -1, 2)
        steepness = torch.where(torch.tensor(trees.column[:, 0]) >= width, 1.0 / RAMP, HARD)
        tables = {
            "columns": torch.tensor(trees.column.T.reshape(-1)),
            "first_cuts": torch.tensor(trees.threshold[:, 0]),
            "first_scale": steepness.to(torch.float32),
            "cuts": torch.tensor(trees.threshold[:, 1:].T.reshape(-1)),
            "bits": (2.0 ** torch.arange(depth - 1)).reshape(-1, 1),
            "base": torch.arange(count, dtype=torch.float32) * 2 ** (depth - 1),
            # a pair of leaves: the first, and what a "yes" to the first question adds
            "leaves": torch.stack([pairs[..., 0], pairs[..., 1] - pairs[..., 0]], -1)
            .reshape(-1, 2)
            .to(torch.float32),
        }
        for name, table in tables.items():
            self.register_buffer(name, table)

    def forward(self, z: Tensor, error: Tensor, similarity: Tensor, rows: Tensor) -> Tensor:
        """As ScoreHead, with one logit a row: [1, N]."""
        smooth = self.score(z, error, similarity, rows).mean(0, keepdim=True)
        asked = torch.cat([rows, soft_evidence(error, similarity)], dim=1)[:, self.columns]
        count = len(self.base)
        first = ((asked[:, :count] - self.first_cuts) * self.first_scale + 0.5).clamp(0.0, 1.0)
        answers = (asked[:, count:] > self.cuts).to(torch.float32)
        number = (answers.reshape(-1, len(self.bits), count) * self.bits).sum(1) + self.base
        pair = self.leaves[number.to(torch.int64)]
        stepped: Tensor = (pair[..., 0] + first * pair[..., 1]).sum(1)
        logit: Tensor = (1.0 - FOREST_SHARE) * smooth + FOREST_SHARE * stepped
        return logit

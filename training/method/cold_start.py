"""The score without any labelled anomaly: held-out ranks of what the model finds unusual."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from nearnorm.training.method.heads import TINY, soft_evidence

KNOTS = 33


class RankHead(nn.Module):
    """Logit = weighted mean of rank logits: of r, of the prototype distance, and of the values.

    Normal scores are ranks themselves, so their mean size says how far out a record's values lie one
    by one, and gets as much weight as r and the distance together. The rank of a value among held-out
    unlabelled rows is interpolated on a logarithmic scale, and goes on in a straight line beyond the
    last row: records farther out than all of them still differ. It answers as `ScoreHead` does, so
    the exported graph is the same.
    """

    knots: Tensor
    slopes: Tensor
    start: Tensor
    weight: Tensor

    def __init__(self, error: Tensor, similarity: Tensor, rows: Tensor | None) -> None:
        """r [H], q* [H] and, where the input is normal scores, rows [H, D] of held-out records."""
        super().__init__()
        self.by_values = rows is not None
        evidence = soft_evidence(error, similarity) if rows is None else _evidence(error, similarity, rows)
        tables = [_rank_logits(column) for column in evidence.numpy().T]
        for name, values in zip(("knots", "slopes", "start"), zip(*tables, strict=True), strict=True):
            self.register_buffer(name, torch.tensor(np.stack(values), dtype=torch.float32))
        weight = [0.5, 0.5] if rows is None else [0.25, 0.25, 0.5]
        self.register_buffer("weight", torch.tensor(weight))

    def forward(self, z: Tensor, error: Tensor, similarity: Tensor, rows: Tensor) -> Tensor:
        """As ScoreHead: logits [1, N]."""
        unusual = _evidence(error, similarity, rows) if self.by_values else soft_evidence(error, similarity)
        above = torch.relu(unusual.unsqueeze(2) - self.knots)
        # the left-most piece extends below its knot: only there is the first term negative
        below = torch.clamp(unusual - self.knots[:, 0], max=0.0) * self.slopes[:, 0]
        return ((self.start + below + (above * self.slopes).sum(2)) @ self.weight).unsqueeze(0)


def _evidence(error: Tensor, similarity: Tensor, rows: Tensor) -> Tensor:
    """[N, 3]: how far a record is from normal, three times."""
    values = (rows.abs().mean(1, keepdim=True) + TINY).log()
    return torch.cat([soft_evidence(error, similarity), values], dim=1)


def _rank_logits(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Knots, change of slope at each, and the logit at the first knot."""
    ordered = np.sort(values)
    count = len(ordered)
    positions = np.unique(
        np.round((0.5 + 0.5 * np.sin(np.linspace(-0.5, 0.5, KNOTS) * math.pi)) * (count - 1))
    ).astype(int)
    ranks = (positions + 1.0) / (count + 1.0)
    logits = np.log(ranks / (1.0 - ranks))
    knots, first = np.unique(ordered[positions], return_index=True)
    logits = logits[first]
    padded_knots = np.full(KNOTS, np.float64(knots[-1]))
    padded_slopes = np.zeros(KNOTS)
    padded_knots[: len(knots)] = knots
    steps = np.diff(logits) / np.maximum(np.diff(knots), 1e-3) if len(knots) > 1 else np.ones(1)
    padded_slopes[: len(steps)] = np.diff(steps, prepend=0.0)
    return padded_knots, padded_slopes, float(logits[0])

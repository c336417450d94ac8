"""Monotone maps of numeric columns, fitted on training rows and part of the exported graph."""

import numpy as np
import torch
from torch import Tensor, nn

KNOTS = 64
"""Knots of a column's map, a power of two: the search for a piece takes log2(KNOTS) gathers."""
INNER = KNOTS - 2
"""Those within the training range; the two others end the map's straight continuations."""
NORMAL_LIMIT = 4.0
BEYOND = 4.0
"""Normal scores by which a map goes on past either end of the training range, at the mean slope of the
range: a thousand times the greatest value must not look like the greatest value."""
UNIT_LIMIT = 10.0


class RangeMap(nn.Module):
    """Min-max scaling: [N, Dn] float32 -> the training range on [0, 1], going on beyond it."""

    low: Tensor
    scale: Tensor

    def __init__(self, columns: list[np.ndarray]) -> None:
        """`columns`: the centred values that are present, in ascending order."""
        super().__init__()
        low, high = _ranges(columns)
        spread = high - low
        self.register_buffer("low", low)
        self.register_buffer("scale", torch.where(spread > 0, 1.0 / spread, 0.0))

    def forward(self, values: Tensor) -> Tensor:
        return ((values - self.low) * self.scale).clamp(-UNIT_LIMIT, UNIT_LIMIT)


class NormalMap(nn.Module):
    """Ranks as normal scores: [N, Dn] float32 -> standard normal, by linear pieces between knots.

    A naive [N, Dn, KNOTS] expansion would cost more than the network; this searches by halving.
    """

    low: Tensor
    high: Tensor
    base: Tensor
    edges: Tensor
    pieces: Tensor

    def __init__(self, columns: list[np.ndarray]) -> None:
        """`columns`: the centred values that are present, in ascending order."""
        super().__init__()
        low, high = _ranges(columns)
        edges = np.full((len(columns), KNOTS), np.inf)  # an edge that no value reaches
        pieces = np.zeros((len(columns), KNOTS, 3))
        for column, values in enumerate(columns):
            edges[column, 0] = 0.0
            if not len(values) or values[0] == values[-1]:
                continue
            knots, scores = _normal_scores(values)
            further = BEYOND * (knots[-1] - knots[0]) / (scores[-1] - scores[0])
            knots = np.concatenate([[knots[0] - further], knots, [knots[-1] + further]])
            scores = np.concatenate([[scores[0] - BEYOND], scores, [scores[-1] + BEYOND]])
            low[column], high[column] = knots[0], knots[-1]
            slopes = np.append(np.diff(scores) / np.diff(knots), 0.0)
            edges[column, : len(knots)] = knots
            pieces[column, : len(knots)] = np.stack([knots, scores, slopes], axis=1)
        self.register_buffer("low", low)
        self.register_buffer("high", high)
        base = torch.arange(len(columns)) * KNOTS
        self.register_buffer("base", base)
        self.register_buffer("edges", torch.tensor(edges.reshape(-1), dtype=torch.float32))
        self.register_buffer("pieces", torch.tensor(pieces.reshape(-1, 3), dtype=torch.float32))

    def forward(self, values: Tensor) -> Tensor:
        values = torch.minimum(torch.maximum(values, self.low), self.high)
        position = self.base.expand(values.shape)
        step = KNOTS // 2
        while step:
            above = values >= self.edges[position + step]
            position = position + above.to(torch.int64) * step
            step //= 2
        piece = self.pieces[position]
        return piece[..., 1] + piece[..., 2] * (values - piece[..., 0])


def _ranges(columns: list[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Least and greatest value of each column, 0 where there is none."""
    ends = [(values[0], values[-1]) if len(values) else (0.0, 0.0) for values in columns]
    low, high = torch.tensor(ends, dtype=torch.float32).reshape(-1, 2).unbind(1)
    return low, high


def _normal_scores(ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most INNER knots and their normal scores: a value's score is that of its middle rank.

    Knots lie evenly in the score, and on both sides of a jump, such as after a value that fills
    many ranks: interpolation would blur it.
    """
    values, counts = np.unique(ordered, return_counts=True)
    middle = (np.cumsum(counts) - 0.5 * counts) / len(ordered)
    scores = torch.special.ndtri(torch.from_numpy(middle)).numpy()
    scores = scores.clip(-NORMAL_LIMIT, NORMAL_LIMIT)
    if len(values) > INNER:
        steps = np.diff(scores)
        widest = np.argsort(steps)[::-1][: INNER // 2]
        jumps = widest[steps[widest] > (scores[-1] - scores[0]) / INNER]
        steps[jumps] = 0.0
        walk = np.concatenate([[0.0], np.cumsum(steps)])
        even = np.linspace(0.0, walk[-1], INNER - 2 * len(jumps))
        chosen = np.concatenate([np.searchsorted(walk, even), jumps, jumps + 1])
        chosen = np.unique(chosen.clip(max=len(values) - 1))
        values, scores = values[chosen], scores[chosen]
    return values, scores

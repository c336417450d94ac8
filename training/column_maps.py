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

    A naive [N, Dn, KNOTS] expansion would cost more than the network; this searches by halving. A piece
    is told by its slope and its score at the knot that the last halving asks about, which is one of the
    piece's ends: no other knot need be looked up.
    """

    low: Tensor
    base: Tensor
    edges: Tensor
    scores: Tensor
    slopes: Tensor

    def __init__(self, columns: list[np.ndarray]) -> None:
        """`columns`: the centred values that are present, in ascending order."""
        super().__init__()
        low, _ = _ranges(columns)
        edges, scores, slopes = np.zeros((3, len(columns), KNOTS))
        for column, values in enumerate(columns):
            if not len(values) or values[0] == values[-1]:
                continue
            x, y = _normal_scores(values)
            further = BEYOND * (x[-1] - x[0]) / (y[-1] - y[0])
            x = np.concatenate([[x[0] - further], x, [x[-1] + further]])
            y = np.concatenate([[y[0] - BEYOND], y, [y[-1] + BEYOND]])
            low[column] = x[0]
            more = (0, KNOTS - len(x))  # beyond the last knot all is level
            edges[column], scores[column] = np.pad(x, more, "edge"), np.pad(y, more, "edge")
            slopes[column, : len(x) - 1] = np.diff(y) / np.diff(x)
        self.register_buffer("low", low)
        self.register_buffer("base", torch.arange(len(columns)) * KNOTS)
        for name, table in {"edges": edges, "scores": scores, "slopes": slopes}.items():
            self.register_buffer(name, torch.tensor(table.reshape(-1), dtype=torch.float32))

    def forward(self, values: Tensor) -> Tensor:
        values = torch.maximum(values, self.low)
        position = self.base.expand(values.shape)
        step = KNOTS // 2
        while step:
            asked = position + step
            above = values >= self.edges[asked]
            position = position + above.to(torch.int64) * step
            step //= 2
        return self.scores[asked] + self.slopes[position] * (values - self.edges[asked])


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

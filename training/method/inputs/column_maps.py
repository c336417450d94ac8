"""Monotone maps of numeric columns, fitted on training rows and part of the exported graph."""

import bisect

import numpy as np
import torch
from torch import Tensor, nn

KNOTS = 16
"""Knots of a column's map, each a ramp of the graph; 64 of them found no more (docs/lab/detection.md)."""
INNER = KNOTS - 2
"""Those within the training range; the two others end the map's straight continuations."""
NORMAL_LIMIT = 4.0
BEYOND = 4.0
"""Normal scores by which a map goes on past either end of the training range, at the mean slope of the
range: a thousand times the greatest value must not look like the greatest value."""
BEYOND_ALL = 1e38
"""An edge that no value reaches."""
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

    def inverse(self, column: Tensor, mapped: Tensor) -> Tensor:
        """As NormalMap's."""
        low, scale = self.low.double()[column], self.scale.double()[column]
        limit = torch.where(scale > 0, UNIT_LIMIT, 0.0)
        return _within(low + mapped / scale, mapped, -limit, limit)


class NormalMap(nn.Module):
    """Ranks as normal scores: [N, Dn] float32 -> standard normal, by linear pieces between knots.

    A piece is a ramp: from its edge on, over its width, a column's score grows by its step. The
    exported graph adds up all ramps, which are few; here the one that a value is on is searched for.
    """

    edges: Tensor
    slopes: Tensor
    steps: Tensor
    levels: Tensor

    def __init__(self, columns: list[np.ndarray]) -> None:
        """`columns`: the centred values that are present, in ascending order."""
        super().__init__()
        shape = len(columns), KNOTS - 1
        edges, slopes, steps = np.full(shape, BEYOND_ALL), np.ones(shape), np.zeros(shape)
        levels = np.zeros(shape)
        for column, values in enumerate(columns):
            if not len(values) or values[0] == values[-1]:
                continue
            knots, scores = _normal_scores(values)
            further = BEYOND * (knots[-1] - knots[0]) / (scores[-1] - scores[0])
            knots = np.concatenate([[knots[0] - further], knots, [knots[-1] + further]])
            scores = np.concatenate([[scores[0] - BEYOND], scores, [scores[-1] + BEYOND]])
            count = len(knots) - 1
            edges[column, :count] = knots[:-1]
            slopes[column, :count] = np.minimum(1.0 / np.diff(knots), BEYOND_ALL)
            steps[column, :count] = np.diff(scores)
            levels[column, :count], levels[column, count:] = scores[:-1], scores[-1]
        tables = {"edges": edges, "slopes": slopes, "steps": steps, "levels": levels}
        for name, table in tables.items():
            self.register_buffer(name, torch.tensor(table, dtype=torch.float32))

    def forward(self, values: Tensor) -> Tensor:
        place = torch.searchsorted(self.edges, values.T.contiguous(), right=True).sub(1).clamp(min=0)
        edge, slope, step, level = (
            table.gather(1, place) for table in (self.edges, self.slopes, self.steps, self.levels)
        )
        return (level + step * ((values.T - edge) * slope).clamp(0.0, 1.0)).T

    def inverse(self, column: Tensor, mapped: Tensor) -> Tensor:
        """What a value of each column [Q] must be above for its score to be above `mapped` [Q], float64: -inf
        where every score is, inf where none is."""
        edges, slopes, steps, levels = (
            table.double()[column] for table in (self.edges, self.slopes, self.steps, self.levels)
        )
        place = torch.searchsorted(levels, mapped[:, None], right=True).sub(1).clamp(min=0)
        edge, slope, step, level = (table.gather(1, place)[:, 0] for table in (edges, slopes, steps, levels))
        highest = levels[:, -1] + steps[:, -1]
        return _within(edge + (mapped - level) / step / slope, mapped, levels[:, 0], highest)


def _within(value: Tensor, mapped: Tensor, lowest: Tensor, highest: Tensor) -> Tensor:
    """Values, and infinity where what they are mapped to is beyond what a map gives."""
    value = torch.where(mapped < lowest, -torch.inf, value)
    return torch.where(mapped >= highest, torch.inf, value)


def _ranges(columns: list[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Least and greatest value of each column, 0 where there is none."""
    ends = [(values[0], values[-1]) if len(values) else (0.0, 0.0) for values in columns]
    low, high = torch.tensor(ends, dtype=torch.float32).reshape(-1, 2).unbind(1)
    return low, high


def _normal_scores(ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most INNER knots and their normal scores: a value's score is that of its middle rank.

    One knot after the other where straight lines between those there are err most, so that there is one
    on both sides of a jump, such as after a value that fills many ranks: interpolation would blur it.
    """
    values, counts = np.unique(ordered, return_counts=True)
    middle = (np.cumsum(counts) - 0.5 * counts) / len(ordered)
    scores = torch.special.ndtri(torch.from_numpy(middle)).numpy()
    scores = scores.clip(-NORMAL_LIMIT, NORMAL_LIMIT)
    chosen, error = [0, len(values) - 1], np.zeros(len(values))

    def straighten(start: int, end: int) -> None:
        inner, ends = slice(start + 1, end), [start, end]
        error[inner] = np.abs(np.interp(values[inner], values[ends], scores[ends]) - scores[inner])

    straighten(*chosen)
    while len(chosen) < INNER and error.max() > 0.0:
        worst = int(error.argmax())
        place = bisect.bisect(chosen, worst)
        error[worst] = 0.0
        straighten(chosen[place - 1], worst)
        straighten(worst, chosen[place])
        chosen.insert(place, worst)
    return values[chosen], scores[chosen]

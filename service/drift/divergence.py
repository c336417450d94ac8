"""How far counts of cells lie from a reference sample of them: an effect size and a test. Pure.

A population stability index (PSI) alone cannot tell drift from chance: without any drift it has a mean
of (k - 1)(1/N + 1/R), with N rows seen, R reference rows and k cells. So drift is what passes both a
likelihood-ratio (G) test of homogeneity, which knows that the reference is a sample too, and a limit
on the PSI less that mean. G rather than Pearson's chi-square: its tail stays honest in thin cells.
"""

import math
from functools import cache

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

THIN = 5.0  # a cell expected to hold fewer rows of a window is merged with its like
_PSEUDOCOUNT = 0.5  # a cell that is empty on one side has a finite PSI


def chi2_tail(x: float, df: int) -> float:
    """P(chi-square with `df` degrees of freedom > x), by the recurrence of the incomplete gamma function."""
    half = x / 2
    if half <= 0:
        return 1.0
    order, tail = (0.5, math.erfc(math.sqrt(half))) if df % 2 else (1.0, math.exp(-half))
    while order < df / 2:
        tail += math.exp(order * math.log(half) - half - math.lgamma(order + 1))
        order += 1
    return min(tail, 1.0)


@cache
def chi2_quantile(alpha: float, df: int) -> float:
    """The x with chi2_tail(x, df) = alpha, to 1e-6."""
    low, high = 0.0, 1.0
    while chi2_tail(high, df) > alpha:
        high *= 2
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if chi2_tail(middle, df) > alpha else (low, middle)
    return high


class Divergence(Struct, frozen=True):
    """One value a signal. `psi` is less its mean without drift, and never negative."""

    psi: Floats
    g: Floats


class Comparison:
    """A reference sample of several signals, each a run of cells in one flat array.

    reference: [cells] rows in each cell; sizes: [signals] cells of each signal, their sum is `cells`;
    window: the smallest number of rows that will be compared. Thin cells of a signal become one.
    """

    def __init__(self, reference: Floats, sizes: Integers, window: int) -> None:
        signal = np.repeat(np.arange(len(sizes)), sizes)
        rows = np.maximum(np.bincount(signal, reference, len(sizes)), 1.0)
        thin = reference / rows[signal] * window < THIN
        first = np.zeros(len(reference), bool)  # a signal's first thin cell stands for all of them
        places = np.flatnonzero(thin)
        first[places[np.diff(signal[places], prepend=-1) > 0]] = True
        keeps = ~thin | first
        self._merged = np.cumsum(keeps) - 1
        leader = np.flatnonzero(first)
        self._merged[thin] = self._merged[leader[np.searchsorted(signal[leader], signal[thin])]]
        self._cells = int(keeps.sum())
        self._signal = signal[keeps]
        self._starts = np.searchsorted(self._signal, np.arange(len(sizes)))
        self._sizes = np.bincount(self._signal, minlength=len(sizes))
        self.df = np.maximum(self._sizes - 1, 1)
        self._reference: Floats = np.bincount(self._merged, reference, self._cells).astype(np.float64)
        self._reference_rows = rows

    def critical(self, alpha: float) -> Floats:
        """[signals] what G stays under with probability 1 - alpha when nothing has changed."""
        return np.array([chi2_quantile(alpha, int(df)) for df in self.df])

    def of(self, counts: Integers) -> Divergence:
        """counts: [cells] as the reference. Signals without rows diverge by nothing."""
        seen: Floats = np.bincount(self._merged, counts, self._cells).astype(np.float64)
        rows = np.maximum(np.add.reduceat(seen, self._starts), 1e-9)
        n, r = rows[self._signal], self._reference_rows[self._signal]
        k = self._sizes[self._signal]
        p = (seen + _PSEUDOCOUNT) / (n + _PSEUDOCOUNT * k)
        q = (self._reference + _PSEUDOCOUNT) / (r + _PSEUDOCOUNT * k)
        psi = np.add.reduceat((p - q) * np.log(p / q), self._starts)
        chance = (self._sizes - 1) * (1 / rows + 1 / self._reference_rows)
        pooled = np.maximum(seen + self._reference, 1e-300) / (n + r)
        g = 2 * np.add.reduceat(_x_log(seen, n * pooled) + _x_log(self._reference, r * pooled), self._starts)
        return Divergence(np.maximum(psi - chance, 0.0), np.maximum(g, 0.0))


def _x_log(x: Floats, expected: Floats) -> Floats:
    """x log(x / expected), 0 where x is 0."""
    return x * np.log(np.where(x > 0, x, expected) / expected)

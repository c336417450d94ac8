"""What a soak's samples say: does anything grow, and do answers get slower? Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WARM_UP = 0.2  # the part of a run that is left out: pools, caches and allocators fill
BLOCKS = 12  # means of blocks are nearly independent of each other; samples are not
T_95 = 2.228  # Student's t of 10 degrees of freedom, two-sided
STEP_OVER_LINE = 0.5  # of what a line leaves unexplained, a step has to leave less than this
MATTERS = 0.02  # growth over the whole run, as a part of the level, below which it is not worth a word


@dataclass(frozen=True)
class Trend:
    """A straight line through the blocks' means: units an hour, with the 95% interval of the slope."""

    level: float
    slope: float
    noise: float
    hours: float
    step: float | None
    """How much more it was from one block on, where that says more than the line does: something was loaded
    once. What goes on growing is nearer to a line, even in steps, as soon as there are two."""

    @property
    def grows(self) -> bool:
        """No single step, more than noise, and more than a trifle over the length of the run."""
        grown = self.slope - self.noise > 0 and self.slope * self.hours > MATTERS * self.level
        return grown and self.step is None


def trend(seconds: Sequence[float], values: Sequence[float]) -> Trend:
    """Raises ValueError for fewer samples than two a block."""
    hours, settled = _settled(seconds, values)
    if len(settled) < 2 * BLOCKS:
        raise ValueError(f"{len(settled)} samples are too few: {2 * BLOCKS} are needed after warming up")
    x = np.array([part.mean() for part in np.array_split(hours, BLOCKS)])
    y = np.array([part.mean() for part in np.array_split(settled, BLOCKS)])
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread
    left = float(((y - y.mean() - slope * (x - x.mean())) ** 2).sum())
    error = math.sqrt(left / (BLOCKS - 2) / spread)
    cut = min(range(2, BLOCKS - 1), key=lambda at: _left_by_step(y, at))
    step = float(y[cut:].mean() - y[:cut].mean()) if _left_by_step(y, cut) < STEP_OVER_LINE * left else None
    return Trend(float(settled.mean()), slope, T_95 * error, float(hours[-1] - hours[0]), step)


def _left_by_step(blocks: NDArray[np.float64], at: int) -> float:
    """What two levels leave unexplained, the second from block `at` on."""
    return sum(float(((part - part.mean()) ** 2).sum()) for part in (blocks[:at], blocks[at:]))


def late_over_early(seconds: Sequence[float], latencies: Sequence[float]) -> tuple[float, float, float]:
    """p99 of the first and of the last quarter of a run, after warming up, and the second over the first."""
    when, settled = _settled(seconds, latencies)
    edges = np.quantile(when, (0.25, 0.75))
    first = float(np.quantile(settled[when <= edges[0]], 0.99))
    last = float(np.quantile(settled[when >= edges[1]], 0.99))
    return first, last, last / first


def _settled(
    seconds: Sequence[float], values: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    when, what = np.asarray(seconds, float), np.asarray(values, float)
    if not len(when):
        raise ValueError("there are no samples")
    warm = when >= when[0] + WARM_UP * (when[-1] - when[0])
    return when[warm] / 3600, what[warm]

"""From a score to a verdict: a conformal rank among reference rows, against an alert budget.

p = (1 + #{reference >= score}) / (n + 1) is the share of normal traffic that looks at least as
strange; a record is an anomaly when p is within the budget. p cannot be finer than 1 / (n + 1).
"""

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from nearnorm.models.errors import ConfigError

DEFAULT_BUDGET = 0.01
_SLACK = 1e-9  # 0.07 * 100 is 7.000000000000001: a rank is a whole number


class Policy(Struct, frozen=True):
    """The share of normal traffic that may be alerted on, in (0, 1)."""

    budget: float

    def __post_init__(self) -> None:
        if not 0.0 < self.budget < 1.0:
            raise ConfigError(f"budget {self.budget} is no share: give a number between 0 and 1")


class Ranks:
    """Conformal ranks among `reference`, sorted ascending, under one policy."""

    def __init__(self, reference: Sequence[float], policy: Policy) -> None:
        """Raises ConfigError, with the rows it needs, for a budget finer than the reference."""
        self._reference = np.asarray(reference, np.float32)  # as scores are: a tie must be seen as one
        self._percentiles = np.round(100.0 * np.arange(self.rows + 1) / (self.rows + 1), 6)
        self.policy = policy
        self._allowed = math.floor(policy.budget * (self.rows + 1) + _SLACK)
        if self._allowed < 1:
            needed = math.ceil(1 / policy.budget - 1 - _SLACK)
            raise ConfigError(
                f"a budget of {policy.budget:g} needs {needed} reference rows, and this model has "
                f"{self.rows}: allow {1 / (self.rows + 1):.2g} or more, or train with more rows"
            )

    @property
    def rows(self) -> int:
        return len(self._reference)

    @property
    def threshold(self) -> float:
        """The score above which a record is an anomaly."""
        return float(self._reference[self.rows - self._allowed])

    def judge(self, scores: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Percentiles in 0..100 (higher = rarer among the reference) and verdicts, one a score."""
        below = self._reference.searchsorted(scores, side="left")
        return self._percentiles[below], below > self.rows - self._allowed


def default_policy(rows: int) -> Policy:
    """1% of normal traffic, or as fine as `rows` reference rows allow."""
    return Policy(max(DEFAULT_BUDGET, 1 / (rows + 1)))

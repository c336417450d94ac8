"""From a score to a verdict: a conformal rank among reference rows, against an alert budget.

p = (1 + #{reference >= score}) / (n + 1) is the share of normal traffic that looks at least as
strange; a record is an anomaly when p is within the budget. The rank is 1 - p, a whole number of
(n + 1)ths; no p is finer than one of them.
"""

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from nearnorm.models.errors import ConfigError

DEFAULT_BUDGET = 0.01
PERCENTILE_DIGITS = 6
"""A percentile is told, kept and compared so."""
_SLACK = 1e-8
"""A share of 1 that is rounding: 1 - 0.07 is less than 0.93, and percentiles have but so many digits."""


class Policy(Struct, frozen=True):
    """The share of normal traffic that may be alerted on, in (0, 1)."""

    budget: float

    def __post_init__(self) -> None:
        if not 0.0 < self.budget < 1.0:
            raise ConfigError(f"budget {self.budget} is no share: give a number between 0 and 1")


def lowest_rank(budget: float) -> float:
    """The rule: a record is an anomaly when its rank, in [0, 1], is at least this."""
    return 1.0 - budget - _SLACK


def lowest_percentile(budget: float) -> float:
    """The same rule for a percentile in 0..100, as `Ranks.judge` answers it."""
    return 100.0 * lowest_rank(budget)


def ranks(scores: NDArray[np.floating], reference: NDArray[np.floating]) -> NDArray[np.float64]:
    """Conformal ranks [N] in [0, n / (n + 1)]: the share of the n reference scores, and of the record
    itself as one more, that are lower. `reference` need not be sorted."""
    return np.searchsorted(np.sort(reference), scores, side="left") / (len(reference) + 1)


def threshold(reference: NDArray[np.floating], budget: float) -> float:
    """The score above which a record is an anomaly: a new normal one is with probability at most `budget`.

    Infinite where the n reference scores are too few for the budget.
    """
    beaten = np.flatnonzero(_rank_of_count(len(reference)) >= lowest_rank(budget))
    if not len(beaten):
        return math.inf
    return float(np.sort(reference)[beaten[0] - 1]) if beaten[0] else -math.inf


def lowest_anomaly(reference: NDArray[np.float32], budget: float) -> float:
    """The lowest score that is an anomaly by its rank among the reference: what `threshold` is just below."""
    above = np.nextafter(np.float32(threshold(reference, budget)), np.float32(np.inf))
    return max(float(above), 0.0)


def usable_budget(budget: float, rows: int) -> float:
    """The budget, or as little as `rows` reference rows allow where it is finer than they are."""
    return max(budget, 1.0 / (rows + 1))


def share_of(threshold: float, reference: NDArray[np.float32]) -> float:
    """The share of normal traffic that a threshold stands for, as a budget: never finer than the reference,
    and never all of it."""
    at_least = len(reference) - int(np.searchsorted(reference, np.float32(threshold), side="left"))
    return min(at_least + 1, len(reference)) / (len(reference) + 1)


def default_policy(rows: int) -> Policy:
    """1% of normal traffic, or as fine as `rows` reference rows allow."""
    return Policy(usable_budget(DEFAULT_BUDGET, rows))


class Ranks:
    """Conformal ranks among `reference`, sorted ascending, under one policy."""

    def __init__(
        self,
        reference: Sequence[float] | NDArray[np.float32],
        policy: Policy,
        threshold: float | None = None,
    ) -> None:
        """`threshold`: the lowest score that is an anomaly, where traffic decides and not the reference.

        Raises ConfigError, with the rows it needs, for a budget finer than the reference.
        """
        self._reference = np.asarray(reference, np.float32)  # as scores are: a tie must be seen as one
        self._percentiles = np.round(100.0 * np.arange(self.rows + 1) / (self.rows + 1), PERCENTILE_DIGITS)
        self._anomalous = _rank_of_count(self.rows) >= lowest_rank(policy.budget)
        self.policy = policy
        self.threshold = threshold
        if not self._anomalous.any():
            needed = math.ceil(1 / policy.budget - 1 - 1e-6)  # a whole number, but for rounding
            raise ConfigError(
                f"a budget of {policy.budget:g} needs {needed} reference rows, and this model has "
                f"{self.rows}: allow {1 / (self.rows + 1):.2g} or more, or train with more rows"
            )

    @property
    def rows(self) -> int:
        return len(self._reference)

    @property
    def reference(self) -> NDArray[np.float32]:
        return self._reference

    def judge(self, scores: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Percentiles in 0..100 (higher = rarer among the reference) and verdicts, one a score."""
        below = self._reference.searchsorted(scores, side="left")
        if self.threshold is not None:
            return self._percentiles[below], scores >= np.float32(self.threshold)
        return self._percentiles[below], self._anomalous[below]


def _rank_of_count(rows: int) -> NDArray[np.float64]:
    """[rows + 1]: the rank of a score, by how many of the reference scores are lower."""
    return np.arange(rows + 1) / (rows + 1)

"""Conformal ranks and the alert budget."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearnorm.models.conformal import Policy, Ranks, default_policy
from nearnorm.models.errors import ConfigError

REFERENCE = [i / 100 for i in range(99)]  # 0.00 .. 0.98


def judged(score: float, ranks: Ranks) -> tuple[float, bool]:
    percentile, anomaly = ranks.judge(np.array([score], np.float32))
    return float(percentile[0]), bool(anomaly[0])


def test_a_percentile_is_the_conformal_rank() -> None:
    ranks = Ranks([0.1, 0.2, 0.3, 0.4], Policy(0.2))
    assert judged(0.05, ranks) == (0.0, False)  # p = 5 / 5
    assert judged(0.25, ranks) == (40.0, False)  # p = 3 / 5
    assert judged(0.9, ranks) == (80.0, True)  # p = 1 / 5, and no rank is finer


def test_a_tie_with_the_reference_counts_against_the_score() -> None:
    ranks = Ranks([0.25, 0.5, 0.75], Policy(0.25))
    assert judged(0.75, ranks) == (50.0, False)
    assert judged(0.76, ranks) == (75.0, True)


def test_one_percent_of_99_rows_is_above_all_of_them() -> None:
    ranks = Ranks(REFERENCE, Policy(0.01))
    assert ranks.threshold == pytest.approx(0.98)
    assert not judged(0.98, ranks)[1]
    assert judged(0.985, ranks)[1]


@given(
    st.lists(st.floats(0, 1, width=32), min_size=20, max_size=60),
    st.floats(0, 1, width=32),
    st.floats(0.05, 0.5),
)
def test_an_anomaly_is_what_the_threshold_and_the_rank_say(
    reference: list[float], score: float, budget: float
) -> None:
    ranks = Ranks(sorted(reference), Policy(budget))
    percentile, anomaly = judged(score, ranks)
    p = (1 + sum(r >= score for r in reference)) / (len(reference) + 1)
    assert percentile == pytest.approx(100 * (1 - p), abs=1e-5)
    assert anomaly == (p <= budget + 1e-9)
    assert anomaly == (score > ranks.threshold)


def test_a_budget_finer_than_the_reference_is_refused_with_the_rows_it_needs() -> None:
    with pytest.raises(ConfigError, match=r"0\.001 needs 999 reference rows, and this model has 99"):
        Ranks(REFERENCE, Policy(0.001))
    Ranks([i / 999 for i in range(999)], Policy(0.001))


@pytest.mark.parametrize("budget", [0.0, 1.0, -0.1, float("nan")])
def test_a_budget_is_a_share(budget: float) -> None:
    with pytest.raises(ConfigError, match="budget"):
        Policy(budget)


@pytest.mark.parametrize("rows", [1, 10, 98, 99, 1000])
def test_the_default_is_one_percent_or_as_fine_as_the_reference_allows(rows: int) -> None:
    policy = default_policy(rows)
    assert policy.budget == pytest.approx(max(0.01, 1 / (rows + 1)))
    Ranks([i / rows for i in range(rows)], policy)

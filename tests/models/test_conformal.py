"""Conformal ranks and the alert budget."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nearnorm.models.conformal import (
    Policy,
    Ranks,
    default_policy,
    lowest_percentile,
    lowest_rank,
    ranks,
    threshold,
    usable_budget,
)
from nearnorm.models.errors import ConfigError

REFERENCE = [i / 100 for i in range(99)]  # 0.00 .. 0.98


def judged(score: float, ranks: Ranks) -> tuple[float, bool]:
    percentile, anomaly = ranks.judge(np.array([score], np.float32))
    return float(percentile[0]), bool(anomaly[0])


def test_a_percentile_is_the_conformal_rank() -> None:
    among = Ranks([0.1, 0.2, 0.3, 0.4], Policy(0.2))
    assert judged(0.05, among) == (0.0, False)  # p = 5 / 5
    assert judged(0.25, among) == (40.0, False)  # p = 3 / 5
    assert judged(0.9, among) == (80.0, True)  # p = 1 / 5, and no rank is finer


def test_a_tie_with_the_reference_counts_against_the_score() -> None:
    among = Ranks([0.25, 0.5, 0.75], Policy(0.25))
    assert judged(0.75, among) == (50.0, False)
    assert judged(0.76, among) == (75.0, True)


def test_one_percent_of_99_rows_is_above_all_of_them() -> None:
    among = Ranks(REFERENCE, Policy(0.01))
    assert threshold(np.array(REFERENCE), 0.01) == pytest.approx(0.98)
    assert among.policy.budget == 0.01
    assert not judged(0.98, among)[1]
    assert judged(0.985, among)[1]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
@given(
    st.lists(st.floats(0, 1, width=32), min_size=20, max_size=60),
    st.floats(0, 1, width=32),
    st.floats(0.05, 0.5),
)
def test_an_anomaly_is_what_the_threshold_and_the_rank_say(
    reference: list[float], score: float, budget: float
) -> None:
    among = Ranks(sorted(reference), Policy(budget))
    percentile, anomaly = judged(score, among)
    p = (1 + sum(r >= score for r in reference)) / (len(reference) + 1)
    assert percentile == pytest.approx(100 * (1 - p), abs=1e-5)
    assert anomaly == (p <= budget + 1e-8)
    assert anomaly == (percentile >= lowest_percentile(budget)), (
        "whoever has but the percentile says the same"
    )
    assert anomaly == (score > threshold(np.array(reference, np.float32), budget))


def test_a_budget_finer_than_the_reference_is_refused_with_the_rows_it_needs() -> None:
    told = r"0\.001 needs 999 reference rows, and this model has 99: allow 0\.01 or more"
    with pytest.raises(ConfigError, match=told):
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


def test_a_rank_is_the_share_of_reference_rows_that_score_lower() -> None:
    assert ranks(np.array([0.0, 2.5, 9.0]), np.array([3.0, 1.0, 2.0])).tolist() == [0.0, 0.5, 0.75]
    assert ranks(np.array([2.0]), np.array([1.0, 2.0, 3.0])).tolist() == [0.25], "a tie is not lower"


@pytest.mark.parametrize("rows", [1, 2, 6, 98, 99, 999, 2_000])
@pytest.mark.parametrize("budget", [0.07, 0.003, 0.01, 1 / 3, 0.5])
def test_the_rule_is_one_for_ranks_percentiles_and_scores(rows: int, budget: float) -> None:
    """A budget of k reference rows flags what beats all but k - 1 of them, however its share is rounded."""
    budget = usable_budget(budget, rows)
    reference = np.arange(rows, dtype=np.float32)
    new = np.arange(rows + 1) - 0.5  # each beats one reference row more than the one before
    percentiles, anomalies = Ranks(reference.tolist(), Policy(budget)).judge(new.astype(np.float32))
    flagged = sum(k <= budget * (rows + 1) + 1e-6 for k in range(1, rows + 2))
    assert anomalies.tolist() == [False] * (rows + 1 - flagged) + [True] * flagged
    assert (ranks(new, reference) >= lowest_rank(budget)).tolist() == anomalies.tolist()
    assert (percentiles >= lowest_percentile(budget)).tolist() == anomalies.tolist()
    assert (new > threshold(reference, budget)).tolist() == anomalies.tolist()


def test_the_threshold_of_too_few_rows_flags_nothing_and_that_of_a_whole_budget_everything() -> None:
    assert threshold(np.arange(98.0), 0.01) == np.inf
    assert threshold(np.arange(99.0), 0.01) == 98.0
    assert threshold(np.arange(3.0), 1 - 1e-12) == -np.inf

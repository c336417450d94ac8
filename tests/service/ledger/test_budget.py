"""Budgets: read, and solved from traffic."""

import numpy as np
import pytest

from nearnorm.models.errors import ConfigError
from nearnorm.service.verdict import budget
from nearnorm.service.verdict.budget import EDGES, PerDay, Share, Traffic


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("0.5%", Share(0.005)),
        (" 1 % of normal traffic ", Share(0.01)),
        (".5%", Share(0.005)),
        ("40 a day", PerDay(40.0)),
        ("40 alerts per day", PerDay(40.0)),
        ("1.5 per day", PerDay(1.5)),
    ],
)
def test_a_budget_is_read(text: str, meant: Share | PerDay) -> None:
    assert budget.parse(text) == meant


@pytest.mark.parametrize(
    "text", ["", "-1%", "0%", "100%", "250%", "0 a day", "-3 a day", "1e-3%", "nan%", "40", "40 a week", "%"]
)
def test_a_budget_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        budget.parse(text)


def seen(percentiles: np.ndarray, days: float) -> Traffic:
    return Traffic(dict(enumerate(budget.bins(percentiles).tolist())), days)


def test_percentiles_fall_into_the_bin_of_their_rarity() -> None:
    counts = budget.bins(np.array([0.0, 50.0, 99.0, 99.0, 99.9999]))
    assert counts.sum() == 5
    assert counts[-1] == 1  # rarity 1
    at = int(np.argmin(np.abs(EDGES - 0.01)))
    assert counts[at] == 2  # rarity 0.01 is within its edge, not beyond it


def test_traffic_like_the_reference_is_flagged_as_the_share_says() -> None:
    traffic = seen(np.linspace(0, 100, 100_000, endpoint=False), days=10)
    assert traffic.rate(0.01) == pytest.approx(0.01, rel=0.02)
    assert traffic.share_for(100) == pytest.approx(0.01, rel=0.02)


def test_traffic_with_more_rare_records_gets_a_smaller_share() -> None:
    rng = np.random.default_rng(0)
    attack = np.concatenate([rng.uniform(0, 100, 90_000), rng.uniform(99.5, 100, 10_000)])
    traffic = seen(attack, days=1)
    share = traffic.share_for(1_000)
    assert traffic.rate(share) * traffic.per_day == pytest.approx(1_000, rel=0.01)
    flagged = np.mean(1 - attack / 100 <= share) * 100_000
    assert flagged == pytest.approx(1_000, rel=0.2)  # within a bin the traffic is taken as even


def test_a_few_rows_decide_little() -> None:
    traffic = seen(np.full(3, 99.99), days=1)
    assert traffic.rate(0.01) == pytest.approx(0.01, abs=0.004)


def test_less_traffic_than_the_budget_still_flags_no_more_than_half_of_it() -> None:
    assert seen(np.linspace(0, 99, 100), days=10).share_for(40) == budget.MOST


def test_without_traffic_a_number_a_day_cannot_be_solved() -> None:
    with pytest.raises(ConfigError, match="no traffic"):
        Traffic({}, 1.0).share_for(40)
    assert Traffic({}, 1.0).rate(0.01) == pytest.approx(0.01)

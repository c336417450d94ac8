"""Budgets, as people say them."""

import pytest

from nearnorm.models.errors import ConfigError
from nearnorm.service.verdict.budget import Budget, NormalShare, PerDay, Precision, TrafficShare, parse


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("0.5%", NormalShare(0.005)),
        (" 1 % of normal traffic ", NormalShare(0.01)),
        ("1% of normal", NormalShare(0.01)),
        (".5%", NormalShare(0.005)),
        ("1% of traffic", TrafficShare(0.01)),
        ("1% of all traffic", TrafficShare(0.01)),
        ("40 a day", PerDay(40.0, "week")),
        ("40 alerts per day", PerDay(40.0, "week")),
        ("1.5 per day", PerDay(1.5, "week")),
        ("40 each day", PerDay(40.0, "day")),
        ("precision 50%", Precision(0.5)),
    ],
)
def test_a_budget_is_read(text: str, meant: Budget) -> None:
    assert parse(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        *("", "-1%", "0%", "100%", "250%", "0 a day", "-3 a day", "1e-3%", "nan%", "40", "40 a week", "%"),
        *("precision", "precision 0%", "precision 100%", "1% of anything", "0 each day"),
        *("0.1 a day", "0.5 each day", "0.0000001 a day", "1000000000 a day", "1000000000 each day"),
    ],
)
def test_a_budget_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse(text)


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("0.0000001 a day", 'at least "0.15 a day"'),
        ("1000000000 a day", '"1% of traffic"'),
        ("0.5 each day", '"0.5 a day"'),
        ("precision 100%", "ask for 99% or less"),
    ],
)
def test_a_budget_that_nothing_can_keep_is_refused_with_the_mend(text: str, mend: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(text)
    assert mend in str(refused.value)


def test_one_alert_a_week_is_the_smallest_mean_of_a_week() -> None:
    assert parse("0.15 a day") == PerDay(0.15, "week")
    assert parse("10000000 a day") == PerDay(10_000_000.0, "week")

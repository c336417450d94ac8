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
    ],
)
def test_a_budget_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse(text)

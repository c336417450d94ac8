"""Intervals from a handful of anomalies: as many hold the truth as they say, and more."""

import numpy as np
import pytest

from nearnorm.training.evaluation.intervals import fewest_for_a_median, median_interval, share_interval

rng = np.random.default_rng(0)


def test_of_ten_values_the_least_and_the_greatest_bound_the_median() -> None:
    low, median, high = median_interval(np.arange(10, 0, -1.0)) or (0.0, 0.0, 0.0)
    assert (low, high) == (1.0, 10.0)
    assert median == pytest.approx(np.sqrt(30.0))


def test_seven_values_are_too_few_and_eight_are_enough() -> None:
    assert median_interval(np.ones(7)) is None
    assert median_interval(np.ones(8)) == (1.0, 1.0, 1.0)
    assert fewest_for_a_median() == 8


@pytest.mark.parametrize("count", [10, 30, 200])
def test_the_true_median_lies_within_as_often_as_promised(count: int) -> None:
    held = 0
    for _ in range(2_000):
        low, _, high = median_interval(rng.exponential(size=count)) or (1.0, 0.0, 0.0)
        held += low <= np.log(2) <= high
    assert held / 2_000 >= 0.985


def test_more_values_give_a_narrower_interval() -> None:
    widths = []
    for count in (10, 100, 10_000):
        low, _, high = median_interval(np.random.default_rng(0).exponential(size=count)) or (0.0, 0.0, 0.0)
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.06


@pytest.mark.parametrize(("share", "count"), [(0.05, 10), (0.5, 10), (0.9, 30)])
def test_the_true_share_lies_within_nine_times_of_ten_and_more(share: float, count: int) -> None:
    hits = rng.binomial(count, share, 2_000)
    held = [low <= share <= high for low, high in (share_interval(int(h), count) for h in hits)]
    assert np.mean(held) >= 0.95


def test_a_share_of_none_or_all_is_bounded_by_what_there_is() -> None:
    assert share_interval(0, 10)[0] == 0.0
    assert share_interval(10, 10)[1] == 1.0
    assert share_interval(0, 10)[1] == pytest.approx(1 - share_interval(10, 10)[0])

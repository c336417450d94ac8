"""The estimate of recall against made-up traffic whose recall is known."""

import numpy as np
import pytest

from nearnorm.service.feedback.figures.recall import FEWEST, MOST, Cells, Recall, estimate
from tests.benchmarks.verdict.bench_recall import How, repetition

Row = tuple[bool, float, int, int, int, int, int]
"""Events alike: alert, percentile, kept, judged, anomalous, drawn, anomalous of the drawn."""


def cells(*rows: Row, weight: float = 1.0) -> Cells:
    """Events that each stand for `weight` rows of traffic; alerts for one."""
    table = np.array(rows, float)
    alert = table[:, 0] == 1
    each = np.where(alert, 1.0, weight)[:, None]
    counts = table[:, 2:]
    return Cells(alert, table[:, 1], counts, counts * each, counts * each**2)


def found(*rows: Row, weight: float = 1.0) -> Recall:
    return estimate(cells(*rows, weight=weight), "v")


def test_alerts_alone_tell_nothing_of_what_was_missed() -> None:
    recall = found((True, 99.9, 10, 10, 8, 1, 1), (False, 50, 1_000, 0, 0, 0, 0))
    assert (recall.low, recall.high) == (0.0, 1.0)
    assert not recall.shown
    assert recall.needs == MOST


def test_a_row_of_the_random_slice_weighs_as_much_as_the_rows_it_stands_for() -> None:
    recall = found((True, 99.9, 20, 20, 10, 0, 0), (False, 50, 10, 10, 1, 10, 1), weight=100.0)
    assert recall.estimate == pytest.approx(10 / (10 + 100))


def test_labels_near_the_threshold_speak_for_their_band_alone() -> None:
    """As the queue's uncertain picks do: of the highest all are judged, of the rest one in a hundred."""
    alerts, near = (True, 99.9, 100, 100, 50, 0, 0), (False, 98.5, 100, 100, 40, 100, 40)
    recall = found(alerts, near, (False, 50, 10_000, 100, 1, 100, 1))
    assert recall.estimate == pytest.approx(50 / (50 + 40 + 10_000 * 1 / 100))


def test_verdicts_on_what_somebody_reported_are_no_random_ones() -> None:
    """Judged without having been drawn: they would make a hundred misses of ten reports."""
    alerts = (True, 99.9, 100, 100, 50, 0, 0)
    recall = found(alerts, (False, 50, 10_000, 1_010, 20, 1_000, 10))
    assert recall.estimate == pytest.approx(50 / (50 + 10_000 * 10 / 1_000))


def test_alerts_that_nobody_judged_may_all_be_normal_or_like_those_above_them() -> None:
    rest = (False, 50, 10_000, 10_000, 50, 10_000, 50)
    judged, half = (True, 99.9, 100, 100, 50, 0, 0), (True, 99.5, 100, 0, 0, 0, 0)
    all_, some = found(judged, rest), found(judged, half, rest)
    assert all_.needs_alerts == 0
    assert some.needs_alerts == 90, "nearly all"
    assert some.low == pytest.approx(all_.low, abs=0.02)
    assert some.high > all_.high
    assert all_.estimate < some.estimate < (2 * 50) / (2 * 50 + 50)


def test_more_labels_make_the_interval_narrower() -> None:
    few = found((True, 99.9, 20, 20, 10, 0, 0), (False, 50, 10_000, 100, 2, 100, 2))
    many = found((True, 99.9, 2_000, 2_000, 1_000, 0, 0), (False, 50, 1_000_000, 10_000, 200, 10_000, 200))
    assert many.estimate == pytest.approx(few.estimate)
    assert many.high - many.low < 0.3 * (few.high - few.low)


@pytest.mark.parametrize("caught", [1, 30, 59])
def test_how_many_labels_it_needs_follows_from_the_prevalence_not_from_the_recall(caught: int) -> None:
    """Sixty anomalies in two thousand rows, found or missed."""
    alerts = (True, 99.9, 100, 100, caught, 5, 1)
    recall = found(alerts, (False, 50, 1_900, 1_900, 60 - caught, 1_900, 60 - caught))
    assert recall.needs == 0
    sparse = found(alerts, (False, 50, 1_900 * 100, 190, 0, 190, 0))
    assert sparse.needs == MOST - sparse.random_labels
    assert not sparse.shown
    frequent = found((True, 99.9, 100, 100, caught, 5, 1), (False, 50, 400, 100, 40, 100, 40))
    assert frequent.needs == FEWEST - 100


@pytest.mark.parametrize(
    ("how", "labels", "prevalence", "shown"),
    [
        ("random", 50, 0.05, 0.0),
        ("random", 1_500, 0.05, 0.9),
        ("random", 6_000, 0.01, 0.9),
        ("queue", 50, 0.05, 0.0),
        ("queue", 200, 0.01, 0.0),
    ],
)
def test_the_interval_holds_the_truth_whether_it_is_shown_or_not(
    how: How, labels: int, prevalence: float, shown: float
) -> None:
    rng = np.random.default_rng(3)
    outcomes = [repetition(how, labels, prevalence, rng) for _ in range(60)]
    covered = [o.recall.low <= o.truth <= o.recall.high for o in outcomes]
    assert np.mean(covered) >= 0.88, "0.93 is measured over 2,000 by bench_recall"
    assert np.mean([o.recall.shown for o in outcomes]) >= shown
    assert shown or not any(o.recall.shown for o in outcomes)

"""Precision and recall at thresholds, from verdicts and the sketch of the traffic."""

import numpy as np
import pytest
from numpy.typing import NDArray

from nearnorm.service.feedback.figures.operating_curve import OperatingPoint, operating_points
from nearnorm.service.ledger.tables.feedback.judged import JudgedEvent
from nearnorm.service.verdict.traffic import score_bins

LINE = 0.6
ROWS = 20_000


class Traffic:
    """Rows with scores, of which the higher are the likelier anomalies."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.scores = (1 / (1 + np.exp(-self.rng.normal(-3, 1.8, ROWS)))).astype(np.float32)
        self.anomaly: NDArray[np.bool_] = self.rng.random(ROWS) < self.scores**2
        counted = score_bins.count(self.scores).astype(np.float64)
        self.tail = np.cumsum(counted[::-1])[::-1]

    def judged(self, alerts: int, drawn: int) -> list[JudgedEvent]:
        """The highest alerts, and rows of a slice of one in ten."""
        order = np.argsort(-self.scores)
        top = order[: min(alerts, int((self.scores >= LINE).sum()))]
        slice_ = self.rng.choice(np.flatnonzero(self.scores < LINE), drawn, replace=False)
        return [self.event(i, 1.0, drawn=False) for i in top] + [
            self.event(i, 0.1, drawn=True) for i in slice_
        ]

    def truth(self, threshold: float) -> tuple[float, float]:
        alerts = self.scores >= threshold
        found = float((alerts & self.anomaly).sum())
        return found / float(alerts.sum()), found / float(self.anomaly.sum())

    def at(self, threshold: float, events: list[JudgedEvent]) -> OperatingPoint:
        (point,) = operating_points(events, self.tail, LINE, [threshold])
        return point

    def event(self, row: int, probability: float, drawn: bool) -> JudgedEvent:
        score = float(self.scores[row])
        return JudgedEvent(score, bool(self.anomaly[row]), probability, score >= LINE, drawn)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.6, 0.8])
def test_the_intervals_hold_the_truth_above_and_below_the_threshold_in_force(threshold: float) -> None:
    held = np.zeros(2)
    for seed in range(20):
        traffic = Traffic(seed)
        point = traffic.at(threshold, traffic.judged(10_000, 1_500))
        for i, (estimate, truth) in enumerate(
            zip((point.precision, point.recall), traffic.truth(threshold), strict=True)
        ):
            assert estimate is not None
            assert estimate.low <= (estimate.estimate or estimate.low) <= estimate.high
            held[i] += estimate.low <= truth <= estimate.high
    assert (held >= 17).all()


def test_more_verdicts_narrow_both_intervals() -> None:
    few, many = Traffic(), Traffic()
    wide = few.at(LINE, few.judged(60, 300))
    narrow = many.at(LINE, many.judged(1_000, 3_000))
    for less, more in ((wide.precision, narrow.precision), (wide.recall, narrow.recall)):
        assert less is not None
        assert more is not None
        assert more.high - more.low < less.high - less.low


def test_a_few_verdicts_at_the_end_do_not_speak_for_all_rows_down_to_them() -> None:
    traffic = Traffic()
    order = np.argsort(-traffic.scores)
    sparse = [traffic.event(i, 1.0, drawn=False) for i in [*order[:16], *order[100:320:110]]]
    precision = traffic.at(float(traffic.scores[order[320]]), sparse).precision
    assert precision is not None
    assert precision.high - precision.low < 0.8


def test_without_verdicts_nothing_is_known_and_what_it_takes_is_told() -> None:
    traffic = Traffic()
    point = traffic.at(LINE, [])
    assert point == OperatingPoint(None, None, 10, 6_000)
    assert traffic.at(LINE, traffic.judged(4, 0)).needs_alerts == 6


def test_recall_takes_verdicts_that_nobody_chose() -> None:
    traffic = Traffic()
    chosen = [event._replace(drawn=False) for event in traffic.judged(1_000, 3_000)]
    point = traffic.at(LINE, chosen)
    assert point.precision is not None
    assert point.recall is None
    assert point.needs_random >= 500


def test_with_few_random_verdicts_only_the_interval_of_recall_is_told() -> None:
    traffic = Traffic()
    point = traffic.at(LINE, traffic.judged(1_000, 100))
    assert point.recall is not None
    assert point.recall.estimate is None
    assert point.recall.high - point.recall.low > 0.1
    assert 0 < point.needs_random <= 6_000


def test_alerts_that_nobody_judged_may_all_be_false() -> None:
    traffic = Traffic()
    alerts = int((traffic.scores >= LINE).sum())
    all_judged = traffic.at(LINE, traffic.judged(alerts, 500)).precision
    half = traffic.at(LINE, traffic.judged(alerts * 6 // 10, 500)).precision
    assert all_judged is not None
    assert half is not None
    assert half.low < 0.7 * all_judged.low
    third = traffic.at(LINE, traffic.judged(alerts // 3, 500)).precision
    assert third is not None
    assert third.estimate is None


def test_a_threshold_above_every_score_is_worth_nothing_that_is_known() -> None:
    traffic = Traffic()
    assert traffic.at(1.0, traffic.judged(1_000, 1_000)).precision is None

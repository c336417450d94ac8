"""What labels on live alerts change of the threshold, and what they cannot."""

import numpy as np
import pytest
from numpy.typing import NDArray

from nearnorm.models.conformal import lowest_anomaly
from nearnorm.service.ledger.tables.feedback.judged import JudgedEvent
from nearnorm.service.verdict.live_labels import FEWEST, MOST, lowest_threshold, usable
from nearnorm.service.verdict.traffic.score_bins import count

BUDGET = 0.01
NORMAL = np.linspace(0.05, 0.7, 3_970, dtype=np.float32)
HIDDEN = np.linspace(0.8, 0.99, 30, dtype=np.float32)  # anomalies
CONTAMINATED = np.sort(np.concatenate([NORMAL, HIDDEN]))
CLEAN = np.linspace(0.05, 0.99, 4_000, dtype=np.float32)


def tail_of(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.cumsum(count(scores)[::-1])[::-1].astype(np.float64)


def labels(
    count: int, anomalous: float, low: float = 0.8, high: float = 0.99, seed: int = 0
) -> list[JudgedEvent]:
    rng = np.random.default_rng(seed)
    scores = rng.uniform(low, high, count)
    return [JudgedEvent(float(s), bool(rng.random() < anomalous), 1.0, True) for s in scores]


def flagged(normal: NDArray[np.float32], threshold: float) -> float:
    return float((normal >= threshold).mean())


def test_alerts_that_are_anomalies_lower_the_threshold_and_the_promise_is_still_kept() -> None:
    before = lowest_anomaly(CONTAMINATED, BUDGET)
    some, many = (
        lowest_threshold(CONTAMINATED, labels(n, 1.0), tail_of(CONTAMINATED), BUDGET) for n in (20, 200)
    )
    assert before > some > many
    assert flagged(NORMAL, before) < 0.003
    assert 0.006 < flagged(NORMAL, many) < BUDGET


def test_a_few_labels_change_nothing() -> None:
    one_normal = JudgedEvent(0.1, False, 1.0, False)
    assert usable([*labels(FEWEST - 1, 1.0), one_normal]) == []
    assert len(usable([*labels(FEWEST, 1.0), one_normal])) == FEWEST


def test_alerts_that_are_normal_change_nothing() -> None:
    found = lowest_threshold(CONTAMINATED, labels(100, 0.0), tail_of(CONTAMINATED), BUDGET)
    assert found == lowest_anomaly(CONTAMINATED, BUDGET)


@pytest.mark.parametrize("seed", range(10))
def test_the_promise_is_kept_where_half_of_the_alerts_are_anomalies(seed: int) -> None:
    rng = np.random.default_rng(seed)
    normal, live_normal = rng.beta(2, 8, (2, 4_000)).astype(np.float32)
    hidden, live_hidden = rng.beta(8, 4, (2, 40)).astype(np.float32)
    reference = np.sort(np.concatenate([normal, hidden]))
    before = lowest_anomaly(reference, BUDGET)
    raised = [
        JudgedEvent(float(score), anomaly, 1.0, True)
        for scores, anomaly in ((live_normal, False), (live_hidden, True))
        for score in scores[scores >= before]
    ]
    found = lowest_threshold(reference, raised, tail_of(np.append(live_normal, live_hidden)), BUDGET)
    assert flagged(normal, before) <= flagged(normal, found) < 1.1 * BUDGET


def test_an_attack_that_the_reference_never_had_takes_nothing_from_it() -> None:
    attack = np.linspace(0.985, 0.99, 4_000, dtype=np.float32)
    among = labels(100, 0.95, 0.981, 0.99)
    found = lowest_threshold(CLEAN, among, tail_of(np.concatenate([np.tile(CLEAN, 5), attack])), BUDGET)
    assert flagged(CLEAN, found) < 1.1 * BUDGET
    unaware = lowest_threshold(CLEAN, among, tail_of(CLEAN), BUDGET)
    assert flagged(CLEAN, unaware) > 1.5 * BUDGET


def test_a_liar_who_calls_every_alert_an_anomaly_cannot_more_than_double_what_is_flagged() -> None:
    found = lowest_threshold(CLEAN, labels(2_000, 1.0, 0.9, 0.99), tail_of(CLEAN), BUDGET)
    assert 0.018 < flagged(CLEAN, found) <= MOST * BUDGET


def test_who_reports_only_what_is_bad_changes_nothing() -> None:
    assert usable(labels(200, 1.0)) == []
    normals = [JudgedEvent(0.2, False, 1.0, False)] * 5  # of the random slice
    assert len(usable([*labels(195, 1.0), *normals])) == 195


def test_labels_near_the_top_do_not_speak_for_what_lies_between_them_and_a_single_one_far_below() -> None:
    top = labels(50, 1.0, 0.97, 0.99)
    far = JudgedEvent(0.9, True, 1.0, True)
    found = lowest_threshold(CLEAN, [*top, far], tail_of(CLEAN), 0.05)
    assert flagged(CLEAN, found) < 1.6 * 0.05

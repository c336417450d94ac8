"""Thresholds by precision."""

import pytest

from nearnorm.models.errors import ConfigError
from nearnorm.service.ledger.tables.feedback.judged import JudgedEvent
from nearnorm.service.verdict.precision import lowest_threshold


def judged(*verdicts: bool, probability: float = 1.0) -> list[JudgedEvent]:
    """Events of falling score."""
    return [JudgedEvent(1.0 - i / 1000, right, probability, True) for i, right in enumerate(verdicts)]


def test_the_threshold_goes_as_low_as_the_precision_surely_holds() -> None:
    events = judged(*[True] * 40, *[True, False] * 20, *[False] * 100)
    lowest = lowest_threshold(events, 0.5)
    above = [event for event in events if event.score >= lowest]
    assert 0.5 < sum(event.anomaly for event in above) / len(above) < 0.65
    assert lowest_threshold(events, 0.8) > lowest


def test_equal_scores_are_one_threshold() -> None:
    events = [JudgedEvent(0.9, True, 1.0, True)] * 20 + [
        JudgedEvent(0.8, right, 1.0, True) for right in [True] * 5 + [False] * 40
    ]
    assert lowest_threshold(events, 0.5) == 0.9


def test_an_event_that_is_seldom_kept_stands_for_many() -> None:
    kept = judged(*[True] * 20)
    lower = [JudgedEvent(0.5, False, 0.01, True)]
    assert lowest_threshold([*kept, *lower], 0.5) > 0.5


def test_it_is_told_how_many_verdicts_are_wanting() -> None:
    with pytest.raises(ConfigError, match="needs 2 more verdicts on the highest alerts: 0 of the 0"):
        lowest_threshold([], 0.5)
    with pytest.raises(ConfigError, match="3 of the 3 highest judged alerts are right") as refusal:
        lowest_threshold(judged(*[True] * 3), 0.9)
    wanted = int(str(refusal.value).split(" needs ")[1].split()[0])
    assert lowest_threshold(judged(*[True] * (3 + wanted)), 0.9)
    with pytest.raises(ConfigError, match="not in sight"):
        lowest_threshold(judged(*[False] * 30), 0.5)

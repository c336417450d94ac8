"""Budgets that the traffic seen cannot give."""

import numpy as np

from nearnorm.service.ledger.tables.events.traffic import Counted
from nearnorm.service.verdict.traffic.feasible import doubts
from nearnorm.service.verdict.traffic.history import DAY, History, trailing
from nearnorm.service.verdict.traffic.pace import pace
from nearnorm.service.verdict.traffic.score_bins import count

NOW = 480_000


def day(scores: np.ndarray, hours: int = DAY) -> History:
    """Hours whose scores are all the same as these."""
    bins = count(scores.astype(np.float32))
    sketch = {int(place): float(bins[place]) for place in np.flatnonzero(bins)}
    every = [
        Counted("m", NOW - back, "v", "app", len(scores), 0, 0, 0, 0, sketch) for back in range(1, hours + 1)
    ]
    return trailing(every, NOW)


def doubted(history: History, alerts: float) -> list[str]:
    paced = pace(history, alerts, "week", 0)
    assert paced is not None
    return doubts(history, alerts, paced.threshold)


def test_more_alerts_than_rows_are_told_with_the_rows_that_were_seen() -> None:
    (sentence,) = doubted(day(np.linspace(0, 1, 100)), 5_000)
    assert "5,000 alerts a day are more than the 2,400 rows a day" in sentence


def test_as_many_alerts_as_the_traffic_gives_are_not_doubted() -> None:
    assert doubted(day(np.linspace(0, 1, 100)), 2_000) == []
    assert doubted(day(np.linspace(0, 1, 100)), 40) == []


def test_fewer_alerts_than_the_highest_scores_have_at_once_are_told() -> None:
    tied = np.repeat([0.1, 0.9], [50, 50])
    (sentence,) = doubted(day(tied), 40)
    assert "fewer than the traffic seen tells apart" in sentence


def test_more_rows_of_the_highest_score_than_alerts_are_told() -> None:
    (sentence,) = doubted(day(np.repeat([0.1, 1.0], [50, 50])), 40)
    assert "1,200 rows a day have the highest score there is" in sentence


def test_before_an_hour_is_known_nothing_is_doubted() -> None:
    few = trailing([Counted("m", NOW, "v", "app", 3, 0, 0, 0, 0, {0: 3.0})], NOW)
    assert doubts(few, 1_000_000, 0.5) == []
    assert doubts(trailing([], NOW), 40, 0.5) == []

"""Thresholds from traffic: what a budget of alerts comes to, and who may move it."""

import numpy as np
import pytest

from nearnorm.service.ledger.tables.events.traffic import Counted
from nearnorm.service.verdict.traffic.history import DAY, History, trailing
from nearnorm.service.verdict.traffic.pace import LIFT, forecast_at, pace, threshold_for_share
from nearnorm.service.verdict.traffic.score_bins import BINS, EDGES, bins_of

NOW = 480_000
RNG = np.random.default_rng(0)
NORMAL = 1 / (1 + np.exp(-RNG.normal(-3, 1.5, 20_000))).astype(np.float32)
FRAUD = 1 / (1 + np.exp(-RNG.normal(4, 1, 20_000))).astype(np.float32)


def hour(
    back: int,
    rows: float,
    scores: np.ndarray = NORMAL,
    caller: str = "app",
    raised: int = 0,
    novel: int = 0,
) -> Counted:
    """So many rows, `back` hours ago, that lie as `scores` do."""
    bins = np.bincount(bins_of(scores), minlength=BINS) * (rows / len(scores))
    sketch = {int(place): float(bins[place]) for place in np.flatnonzero(bins)}
    return Counted("m", NOW - back, "v", caller, round(rows), raised, novel, 0, 0, sketch)


def steady(days: int, rows: float = 1_000, raised: int = 0) -> list[Counted]:
    return [hour(back, rows, raised=raised) for back in range(1, days * DAY + 1)]


def alerts_a_day(history: History, threshold: float) -> float:
    """What the threshold would have raised on the newest day."""
    return float(history.tail[0][EDGES.searchsorted(np.float32(threshold))])


def test_steady_traffic_gets_as_many_alerts_as_asked_for() -> None:
    history = trailing(steady(10), NOW)
    found = pace(history, 40, "week", 0)
    assert found is not None
    assert alerts_a_day(history, found.threshold) == pytest.approx(40, rel=0.1)
    assert not found.exceeded
    forecast = forecast_at(history, found.threshold)
    assert forecast is not None
    assert forecast.low < 40 < forecast.high
    assert forecast.mean == pytest.approx(40, rel=0.1)


def test_without_traffic_there_is_no_threshold_and_of_minutes_no_forecast() -> None:
    nothing = trailing([], NOW)
    assert pace(nothing, 40, "week", 0) is None
    assert forecast_at(nothing, 0.5) is None
    assert threshold_for_share(nothing, 0.01) is None
    minutes = trailing([hour(0, 100)], NOW)
    assert pace(minutes, 40, "week", 0) is not None
    assert forecast_at(minutes, 0.5) is None


def test_a_share_of_traffic_is_of_all_rows_that_were_seen() -> None:
    history = trailing(steady(3), NOW)
    lowest = threshold_for_share(history, 0.01)
    assert lowest is not None
    assert np.mean(lowest <= NORMAL) == pytest.approx(0.01, rel=0.1)


def test_ten_times_the_traffic_is_followed_within_a_day() -> None:
    before = [hour(back, 1_000) for back in range(DAY + 1, 10 * DAY)]
    history = trailing([*before, *(hour(back, 10_000) for back in range(1, DAY + 1))], NOW)
    found = pace(history, 40, "week", 0)
    assert found is not None
    assert alerts_a_day(history, found.threshold) == pytest.approx(40, rel=0.15)


def weekly(back: int) -> float:
    """The newest two days are a weekend, at a fifth."""
    return 200.0 if (back - 1) // DAY % 7 < 2 else 1_000.0


def test_a_weekend_gets_its_share_of_the_week_and_the_monday_after_it_too() -> None:
    hours = [hour(back, weekly(back)) for back in range(1, 15 * DAY)]
    history = trailing(hours, NOW)
    week, day = pace(history, 40, "week", 0), pace(history, 40, "day", 0)
    assert week is not None
    assert day is not None
    assert week.threshold < day.threshold  # Monday may have more than 40
    forecast = forecast_at(history, week.threshold)
    assert forecast is not None
    assert forecast.mean == pytest.approx(40 * 7 / 5.4, rel=0.15)


@pytest.mark.parametrize(("raised", "sign"), [(5, 1), (0, -1)])
def test_what_was_raised_too_much_or_too_little_is_made_good(raised: int, sign: int) -> None:
    history = trailing(steady(10, raised=raised), NOW)
    plain, owing = pace(history, 40, "week", 0), pace(history, 40, "week", 10)
    assert plain is not None
    assert owing is not None
    assert sign * (owing.threshold - plain.threshold) > 0


def test_what_is_novel_or_confirmed_uses_the_budget_first_and_is_forecast() -> None:
    history = trailing([hour(back, 1_000, raised=1, novel=back % 2) for back in range(1, 10 * DAY + 1)], NOW)
    found = pace(history, 40, "week", 0)
    assert found is not None
    assert alerts_a_day(history, found.threshold) == pytest.approx(40 - 12, rel=0.1)
    forecast = forecast_at(history, found.threshold)
    assert forecast is not None
    assert forecast.mean == pytest.approx(40, rel=0.1)


def test_however_much_is_novel_or_confirmed_half_of_the_budget_is_for_scores() -> None:
    history = trailing([hour(back, 1_000, novel=500) for back in range(1, 10 * DAY + 1)], NOW)
    found = pace(history, 40, "week", 10)
    assert found is not None
    assert alerts_a_day(history, found.threshold) == pytest.approx(20, rel=0.15)


def test_a_flood_of_one_caller_does_not_lift_the_threshold_over_the_alerts_of_another() -> None:
    usual = [hour(back, 1_000, caller="shop") for back in range(1, 9 * DAY)]
    fraud = [hour(back, 2, FRAUD, caller="shop") for back in range(1, 9 * DAY)]
    flood = [hour(1, 100_000, np.full(1, 0.9999, np.float32), caller="flooder")]
    before = pace(trailing([*usual, *fraud], NOW), 60, "week", 0)
    during = pace(trailing([*usual, *fraud, *flood], NOW), 60, "week", 0)
    assert before is not None
    assert during is not None
    assert np.mean(before.threshold <= FRAUD) > 0.5
    assert np.mean(during.threshold <= FRAUD) > 0.5 * np.mean(before.threshold <= FRAUD)
    assert during.exceeded


def test_a_lone_callers_flood_lifts_the_threshold_by_a_step_a_day_and_says_so() -> None:
    hours = [*steady(9), hour(1, 100_000, FRAUD)]
    history = trailing(hours, NOW)
    found = pace(history, 40, "week", 0)
    assert found is not None
    assert found.exceeded
    assert found.base < found.threshold
    older = history.tail[1:].sum(axis=0)
    kept, based = (older[EDGES.searchsorted(np.float32(t))] for t in (found.threshold, found.base))
    assert kept >= based / LIFT


def test_callers_of_steady_traffic_count_in_full() -> None:
    alone = pace(trailing(steady(9), NOW), 40, "week", 0)
    shared = [
        hour(back, rows, caller=caller)
        for back in range(1, 9 * DAY + 1)
        for caller, rows in (("large", 950), ("small", 50))
    ]
    together = pace(trailing(shared, NOW), 40, "week", 0)
    assert alone == together

"""Figures as pictures and words: the gate's evidence, and the curve of budgets."""

from typing import Any

import pytest

from nearnorm.service.feedback.figures.budget_curve import Position
from nearnorm.service.feedback.figures.operating_curve import Estimate, OperatingPoint
from nearnorm.service.pages.pictures import budget, gate
from nearnorm.service.verdict.traffic.pace import Forecast

EVIDENCE: dict[str, Any] = {
    "ranks": {"champion": [0.0, 90.0, 99.0, 99.0], "challenger": [0.0, 99.9, 90.0, 99.01]},
    "traffic": {"rows": 1_000, "champion": 5, "challenger": 20},
    "budget": 0.01,
    "average_precision": {"difference": 0.1, "interval_90": [-0.05, 0.2]},
}


def test_an_anomaly_is_drawn_from_where_it_was_to_where_it_would_be_the_strangest_on_top() -> None:
    picture = gate.rank_picture(EVIDENCE)
    assert picture is not None
    assert [line.move for line in picture.lines] == ["same", "higher", "lower", "same"]
    assert picture.counts == {"higher": 1, "lower": 1, "same": 2}
    marks = {name: height for height, name in picture.marks}
    assert picture.lines[0].left == marks["100%"]
    assert picture.lines[1].left == marks["10%"]
    assert picture.lines[1].right == marks["0.1%"]
    assert marks["0.1%"] < marks["1%"] < marks["10%"] < marks["100%"]


def test_without_ranks_or_traffic_nothing_is_drawn() -> None:
    assert gate.rank_picture({}) is None
    assert gate.rank_picture({"ranks": {"champion": [], "challenger": []}}) is None
    assert gate.alert_bars({"traffic": {"rows": 0, "champion": 0, "challenger": 0}, "budget": 0.01}) == []
    assert gate.precision_interval({}) is None


def test_alerts_are_bars_beside_the_budget() -> None:
    bars = {bar.name: (bar.share, bar.width) for bar in gate.alert_bars(EVIDENCE)}
    assert bars == {"Today's model": (0.005, 25.0), "New model": (0.02, 100.0), "Budget": (0.01, 50.0)}


def test_a_difference_lies_right_of_the_middle_where_it_is_better() -> None:
    found = gate.precision_interval(EVIDENCE)
    assert found is not None
    assert 0 < found.low < 50 < found.middle < found.high < 100


def position(alerts: float | None, precision: Estimate | None, recall: Estimate | None = None) -> Position:
    forecast = None if alerts is None else Forecast(alerts / 2, alerts, 2 * alerts, 1e5)
    return Position(f"{alerts} a day", 0.5, 0.01, forecast, OperatingPoint(precision, recall, 0, 0))


KNOWN = Estimate(0.5, 0.25, 0.75)


def test_positions_lie_by_the_logarithm_of_their_alerts() -> None:
    places = [one.x for one in budget.shown([position(a, None) for a in (1, 10, 100)])]
    assert places == [budget.LEFT, (budget.LEFT + budget.RIGHT) / 2, budget.RIGHT]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "not known yet"),
        (Estimate(None, 0.0311, 1.0), "somewhere between 3% and 100%"),
        (KNOWN, "about 50% (25% to 75%)"),
    ],
)
def test_an_estimate_is_told_as_far_as_it_is_known(found: Estimate | None, words: str) -> None:
    assert budget.estimate_of(found) == words


def test_a_band_covers_what_is_known_and_a_line_only_the_estimates() -> None:
    wide = Estimate(None, 0.0, 1.0)
    drawn = budget.picture([position(a, p) for a, p in ((1, None), (2, KNOWN), (4, wide), (8, KNOWN))])
    assert drawn is not None
    (band,) = drawn.bands
    assert band.name == "precision"
    assert len(band.interval.split()) == 6
    assert len(band.lines) == 2
    assert [name for _, name in drawn.x_marks] == ["1", "2", "5"]


def test_of_what_nobody_knows_there_is_no_picture() -> None:
    assert budget.picture([position(1, None), position(2, None)]) is None
    assert budget.picture([]) is None


def test_a_budget_without_traffic_says_what_it_flags_of_normal() -> None:
    (one,) = budget.shown([position(None, None)])
    assert one.alerts is None
    assert (
        one.sentence
        == "None a day: flags 1% of normal traffic, precision not known yet, recall not known yet"
    )

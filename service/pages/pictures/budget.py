"""The curve of budgets as a picture and in words: precision and recall over alerts a day."""

import math
from collections.abc import Callable, Sequence

from msgspec import Struct

from nearnorm.service.feedback.figures.budget_curve import Position
from nearnorm.service.feedback.figures.operating_curve import Estimate
from nearnorm.service.pages.frame.words import count, number, share, things

LEFT, RIGHT, TOP, BOTTOM = 46.0, 590.0, 10.0, 190.0
_TICKS = (1.0, 2.0, 5.0)

Pick = Callable[[Position], Estimate | None]


class PositionShown(Struct, frozen=True):
    """A budget and what it comes to, in words; `x` is its place in the picture."""

    budget: str
    alerts: str | None
    precision: str
    recall: str
    normal: str
    x: float

    @property
    def sentence(self) -> str:
        comes_to = self.alerts or f"flags {self.normal} of normal traffic"
        return f"{self.budget}: {comes_to}, precision {self.precision}, recall {self.recall}"


class Band(Struct, frozen=True):
    """A figure over all positions: its interval as a polygon's points, and the runs of its estimate as
    those of lines."""

    name: str
    interval: str
    lines: list[str]


class CurvePicture(Struct, frozen=True):
    bands: list[Band]
    x_marks: list[tuple[float, str]]
    y_marks: list[tuple[float, str]]


def shown(positions: Sequence[Position]) -> list[PositionShown]:
    """In words, each at its place between the first and the last."""
    place = _across(positions)
    return [
        PositionShown(
            position.budget,
            _alerts(position),
            estimate_of(position.worth.precision),
            estimate_of(position.worth.recall),
            share(position.share),
            place(position),
        )
        for position in positions
    ]


def picture(positions: Sequence[Position]) -> CurvePicture | None:
    """None where neither precision nor recall is known anywhere."""
    place = _across(positions)
    picks: tuple[tuple[str, Pick], ...] = (
        ("precision", lambda position: position.worth.precision),
        ("recall", lambda position: position.worth.recall),
    )
    bands = [band for name, pick in picks if (band := _band(name, positions, place, pick))]
    if not bands:
        return None
    y_marks = [(_down(part), f"{100 * part:.0f}%") for part in (0.0, 0.25, 0.5, 0.75, 1.0)]
    return CurvePicture(bands, _x_marks(positions, place), y_marks)


def estimate_of(found: Estimate | None) -> str:
    """An estimate and its interval, in words."""
    if found is None:
        return "not known yet"
    if found.estimate is None:
        return f"somewhere between {share(round(found.low, 2))} and {share(round(found.high, 2))}"
    low, high = share(round(found.low, 2)), share(round(found.high, 2))
    return f"about {share(round(found.estimate, 2))} ({low} to {high})"


def _alerts(position: Position) -> str | None:
    if position.alerts is None:
        return None
    at = position.alerts
    return f"about {things(count(at.mean), 'alert')} a day ({count(at.low)} to {count(at.high)})"


def _amount(position: Position) -> float:
    """What lies along the picture: alerts a day, or the share of normal traffic."""
    return max(position.alerts.mean if position.alerts else position.share, 1e-6)


def _across(positions: Sequence[Position]) -> Callable[[Position], float]:
    amounts = [math.log(_amount(position)) for position in positions] or [0.0]
    low, high = min(amounts), max(amounts)
    width = (high - low) or 1.0

    def place(position: Position) -> float:
        part = min(max((math.log(_amount(position)) - low) / width, 0.0), 1.0)
        return round(LEFT + (RIGHT - LEFT) * part, 1)

    return place


def _down(part: float) -> float:
    return round(BOTTOM - (BOTTOM - TOP) * part, 1)


def _band(
    name: str, positions: Sequence[Position], place: Callable[[Position], float], pick: Pick
) -> Band | None:
    known = [(place(position), found) for position in positions if (found := pick(position))]
    if not known:
        return None
    upper = [f"{x},{_down(found.high)}" for x, found in known]
    lower = [f"{x},{_down(found.low)}" for x, found in reversed(known)]
    runs: list[list[str]] = [[]]
    for x, found in known:
        if found.estimate is None:
            runs.append([])
        else:
            runs[-1].append(f"{x},{_down(found.estimate)}")
    return Band(name, " ".join([*upper, *lower]), [" ".join(run) for run in runs if run])


def _x_marks(positions: Sequence[Position], place: Callable[[Position], float]) -> list[tuple[float, str]]:
    """Round numbers of alerts a day; of shares the first and the last."""
    if not positions:
        return []
    first, last = positions[0], positions[-1]
    if first.alerts is None or last.alerts is None:
        return [(place(first), share(first.share)), (place(last), share(last.share))]
    low, high = _amount(first), _amount(last)
    width = math.log(high / low) or 1.0
    found = [tick * 10.0**power for power in range(-1, 8) for tick in _TICKS]
    return [
        (round(LEFT + (RIGHT - LEFT) * math.log(value / low) / width, 1), number(value))
        for value in found
        if low <= value <= high
    ]

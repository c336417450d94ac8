"""What a job's gate went by, as pictures: ranks of confirmed anomalies side by side, and alerts as bars."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from nearnorm.service.pages.frame.words import share

_TOP, _HEIGHT = 10.0, 180.0
_FINEST = 0.001  # of traffic: above the highest so much nothing is told apart
_NOTICED = 1.0  # in the picture: what moves less stays where it was

Move = Literal["higher", "lower", "same"]


class RankLine(Struct, frozen=True):
    """An anomaly from where the champion ranks it to where the challenger does: heights from the top."""

    left: float
    right: float
    move: Move


class RankPicture(Struct, frozen=True):
    """`marks` are heights, and what share of traffic lies above; `counts` how many anomalies moved how."""

    lines: list[RankLine]
    marks: list[tuple[float, str]]
    counts: dict[Move, int]


class Bar(Struct, frozen=True):
    """`width` is 0 to 100, of the longest."""

    name: str
    share: float
    width: float


class Interval(Struct, frozen=True):
    """A difference and its interval on a line from -`reach` to `reach`: places are 0 to 100."""

    low: float
    middle: float
    high: float
    reach: float


def rank_picture(evidence: Mapping[str, Any]) -> RankPicture | None:
    """None: the gate could not measure any, or an older release did."""
    ranks: dict[str, Sequence[float]] = evidence.get("ranks") or {}
    if not ranks.get("champion"):
        return None
    lines = [
        RankLine(left, right, _move(left, right))
        for left, right in zip(
            map(_height, ranks["champion"]), map(_height, ranks["challenger"]), strict=True
        )
    ]
    counts: dict[Move, int] = {"higher": 0, "lower": 0, "same": 0}
    for line in lines:
        counts[line.move] += 1
    marks = [(_height(100 - 100 * part), share(part)) for part in (0.001, 0.01, 0.1, 1.0)]
    return RankPicture(lines, marks, counts)


def alert_bars(evidence: Mapping[str, Any]) -> list[Bar]:
    """Alerts on recent traffic as shares of it, beside the budget; empty where there was none."""
    traffic, budget = evidence.get("traffic"), evidence.get("budget")
    if not traffic or not traffic["rows"] or budget is None:
        return []
    rows = traffic["rows"]
    shares = {
        "Today's model": traffic["champion"] / rows,
        "New model": traffic["challenger"] / rows,
        "Budget": budget,
    }
    most = max(shares.values()) or 1.0
    return [Bar(name, part, round(100 * part / most, 2)) for name, part in shares.items()]


def precision_interval(evidence: Mapping[str, Any]) -> Interval | None:
    """The difference in average precision with its 90% interval."""
    found = evidence.get("average_precision")
    if not found:
        return None
    low, high = found["interval_90"]
    reach = max(abs(low), abs(high), abs(found["difference"]), 0.01) * 1.1

    def place(value: float) -> float:
        return float(round(50 + 50 * value / reach, 2))

    return Interval(place(low), place(found["difference"]), place(high), reach)


def _height(percentile: float) -> float:
    above = max(1 - percentile / 100, _FINEST)
    return round(_TOP + _HEIGHT * (1 - math.log(above) / math.log(_FINEST)), 1)


def _move(left: float, right: float) -> Move:
    if abs(left - right) < _NOTICED:
        return "same"
    return "higher" if right < left else "lower"

"""Counts over time as stacked bars, one a period."""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from nearnorm.service.api.overview import PeriodFigures
from nearnorm.service.pages.frame.words import count

LEFT, RIGHT, TOP, BOTTOM = 46.0, 590.0, 12.0, 110.0
_MARKS = 4
_GAP = 0.2  # of a bar's width

Part = Callable[[PeriodFigures], float | None]


class Block(Struct, frozen=True):
    """A part of a bar, in the picture's units; `name` is the part's."""

    name: str
    x: float
    y: float
    width: float
    height: float


class BarPicture(Struct, frozen=True):
    """`most` is the highest bar; `marks` are places along it and the `start` of the periods there."""

    blocks: list[Block]
    marks: list[tuple[float, str]]
    most: str


def bar_picture(periods: Sequence[PeriodFigures], parts: Mapping[str, Part]) -> BarPicture | None:
    """Parts lie on each other in their order. None where there is nothing to show."""
    heights = [[part(period) or 0.0 for part in parts.values()] for period in periods]
    most = max(map(sum, heights), default=0.0)
    if not most:
        return None
    step = (RIGHT - LEFT) / len(periods)
    blocks = []
    for place, bar in enumerate(heights):
        below = 0.0
        for name, value in zip(parts, bar, strict=True):
            if value:
                height = (BOTTOM - TOP) * value / most
                x, y = LEFT + step * (place + _GAP / 2), BOTTOM - below - height
                blocks.append(
                    Block(name, round(x, 1), round(y, 1), round(step * (1 - _GAP), 1), round(height, 1))
                )
                below += height
    every = max(len(periods) // _MARKS, 1)
    marks = [
        (round(LEFT + step * (place + 0.5), 1), periods[place].start)
        for place in range(0, len(periods), every)
    ]
    return BarPicture(blocks, marks, count(most))

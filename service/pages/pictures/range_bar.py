"""Bars: where a value lies beside the range of its normal group, as places in a picture 100 wide."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

_MARGIN = 6.0


class RangeBar(Struct, frozen=True):
    """`low` to `high` is the group's 5th to 95th percentile; 0 to 100 each."""

    low: float
    median: float
    high: float
    value: float


def range_bar(value: object, expected: Mapping[str, Any]) -> RangeBar | None:
    """None for what has no place on a line: a category, a gap, a group without values."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or expected.get("median") is None:
        return None
    low, median, high = (float(expected[name]) for name in ("low", "median", "high"))
    least, most = min(low, value), max(high, value)
    width = (most - least) or 1.0

    def place(x: float) -> float:
        return round(_MARGIN + (100 - 2 * _MARGIN) * min(max((x - least) / width, 0.0), 1.0), 2)

    return RangeBar(place(low), place(median), place(high), place(value))

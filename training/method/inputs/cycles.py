"""Times -> their places on the circles of the day, the week and the month, as part of the exported graph.

A place is looked up in a table of cosine and sine by minute, weekday and day: a table answers the same on
every machine and in any batch. A missing time stands where the training rows' mean does.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

DAY = 86_400.0
LEAST_DAYS = {"day": 1.0, "week": 14.0, "month": 62.0}
"""What times have to span before a circle is told of: of three days all others would look strange."""
MOST_DAYS = 20 * 366.0
"""Times further apart are birthdays and the like: their weekday says nothing."""
LENGTHS = {"day": 1_440, "week": 7, "month": 31}
LEVEL = 0.7
"""How far from the middle a circle is, in normal scores: as large as numbers, what time it was would drown
them; far smaller, it would not be seen (docs/lab/detection.md)."""


class Circle(nn.Module):
    """One circle of T time columns: numeric [N, Dn] -> [N, 2 T] cosine and sine."""

    columns: Tensor
    table: Tensor
    base: Tensor

    def __init__(self, name: str, columns: list[int], table: np.ndarray) -> None:
        """`table` [T, length + 1, 2]: by place, the last one for a missing time."""
        super().__init__()
        self.name = name
        self.length = LENGTHS[name]
        self.register_buffer("columns", torch.tensor(columns, dtype=torch.int64))
        self.register_buffer("table", torch.tensor(table.reshape(-1, 2), dtype=torch.float32))
        self.register_buffer("base", torch.arange(len(columns)) * (self.length + 1))

    def forward(self, numeric: Tensor) -> Tensor:
        place = PLACES[self.name](numeric[:, self.columns]).to(torch.float32)
        place = torch.where(place == place, place, float(self.length)).clamp(0.0, float(self.length))
        return self.table[place.to(torch.int64) + self.base].flatten(1)


def circles_of(numeric: np.ndarray, columns: list[int], bounded: bool) -> list[Circle]:
    """Which circles the training rows [N, Dn] tell of. `bounded`: places are in [0, 1], as inputs are."""
    found = []
    for name in LENGTHS:
        used, tables = [], []
        for column in columns:
            values = numeric[:, column]
            values = values[~np.isnan(values)]
            if len(values) and _tells(name, values):
                used.append(column)
                tables.append(_table(name, values, bounded))
        if used:
            found.append(Circle(name, used, np.stack(tables)))
    return found


def _tells(name: str, values: np.ndarray) -> bool:
    places = np.unique(PLACES[name](torch.from_numpy(values)).numpy())
    if len(places) < 2:
        return False
    first, last = values.min() / DAY, values.max() / DAY
    if name == "day":
        return bool(last - first >= LEAST_DAYS[name] or (first >= 0.0 and last < 1.0))
    return bool(LEAST_DAYS[name] <= last - first <= MOST_DAYS)


def _table(name: str, values: np.ndarray, bounded: bool) -> np.ndarray:
    """[length + 1, 2]"""
    length = LENGTHS[name]
    angles = 2.0 * np.pi * np.arange(length) / length
    table = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    table = 0.5 + 0.5 * table if bounded else LEVEL * table
    places = PLACES[name](torch.from_numpy(values)).numpy().astype(np.int64)
    return np.concatenate([table, table[places].mean(0, keepdims=True)])


def minute_of_day(seconds: Tensor) -> Tensor:
    """Seconds since 1970 float64 -> 0 to 1439."""
    return torch.floor((seconds - torch.floor(seconds / DAY) * DAY) / 60.0)


def day_of_week(seconds: Tensor) -> Tensor:
    """0 is Monday: the first of January 1970 was a Thursday."""
    day = torch.floor(seconds / DAY) + 3.0
    return day - torch.floor(day / 7.0) * 7.0


def day_of_month(seconds: Tensor) -> Tensor:
    """0 is the first: the Gregorian calendar in years that begin in March, of which 400 have 146,097 days."""
    day = torch.floor(seconds / DAY) + 719_468.0
    of_era = day - torch.floor(day / 146_097.0) * 146_097.0
    leap = torch.floor(of_era / 36_524.0) - torch.floor(of_era / 1_460.0) - torch.floor(of_era / 146_096.0)
    year = torch.floor((of_era + leap) / 365.0)
    of_year = of_era - (365.0 * year + torch.floor(year / 4.0) - torch.floor(year / 100.0))
    month = torch.floor((5.0 * of_year + 2.0) / 153.0)
    return of_year - torch.floor((153.0 * month + 2.0) / 5.0)


PLACES: dict[str, Callable[[Tensor], Tensor]] = {
    "day": minute_of_day,
    "week": day_of_week,
    "month": day_of_month,
}

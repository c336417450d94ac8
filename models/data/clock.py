"""What a clock and a calendar show at seconds since 1970: what reasons and equality see of a time."""

import numpy as np
from numpy.typing import NDArray

from nearnorm.models.data.schema import TimeColumns

Floats = NDArray[np.float64]

DAY, HOUR, HOURS = 86_400, 3_600, 24
_WEEK = 7 * DAY


def hours(seconds: Floats) -> Floats:
    """The hour of the day, from 0 up to 24; NaN where the time is missing."""
    return np.mod(seconds, DAY) / HOUR


def with_hours(numeric: Floats, times: TimeColumns) -> Floats:
    """Numbers [N, Dn] with the hour of the day in the place of times."""
    shown, columns = numeric.copy(), list(times.columns)
    shown[:, columns] = hours(numeric[:, columns])
    return shown


def middle_hour(of_day: Floats) -> float:
    """Where hours [N] lie on the clock's face, 23 and 1 about midnight: from 0 up to 24."""
    turn = 2.0 * np.pi / HOURS
    middle = np.arctan2(np.sin(of_day * turn).mean(), np.cos(of_day * turn).mean()) / turn
    return float(np.mod(middle, HOURS))


def around(middle: Floats | float, of_day: Floats) -> Floats:
    """Hours of the day as they lie nearest to the middle, at most twelve off: beyond 0 to 24 where
    midnight is between."""
    return middle + np.mod(of_day - middle + HOURS / 2, HOURS) - HOURS / 2


def as_compared(numeric: Floats, times: TimeColumns) -> Floats:
    """Numbers [N, Dn] with the hour of the week, and beside them what passed since other times, [N, Dn + S]:
    records are equal whose times differ by weeks."""
    shown = numeric.copy()
    columns = list(times.columns)
    shown[:, columns] = np.floor(np.mod(numeric[:, columns], _WEEK) / HOUR)
    since = [(numeric[:, later] - numeric[:, earlier])[:, None] for later, earlier in times.since]
    return np.concatenate([shown, *since], axis=1)

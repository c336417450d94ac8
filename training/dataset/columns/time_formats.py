"""In which format a column's times are written: by its texts, or by its name and the size of its numbers."""

import re
from itertools import islice

import numpy as np

from nearnorm.models.data.times import TimeFormat, reader

_DAYS = frozenset({"date", "datetime", "datum", "fecha"})
"""What the names of days that spreadsheets count end with: under "time" numbers of that size are seconds."""
WORDS = _DAYS | {"time", "timestamp", "ts", "epoch", "stamp", "at", "created", "updated", "modified", "utc"}
"""What the names of epoch numbers and of dates as numbers end with."""
EPOCH_SECONDS = (3e8, 4.2e9)
"""From 1979 to 2103: numbers of other sizes are none, or count in another unit."""
_UNITS = {
    TimeFormat.EPOCH_S: 1e0,
    TimeFormat.EPOCH_MS: 1e3,
    TimeFormat.EPOCH_US: 1e6,
    TimeFormat.EPOCH_NS: 1e9,
}
_OF_TEXTS = (TimeFormat.DMY, TimeFormat.MDY, TimeFormat.CLOCK, TimeFormat.YMD)
_FIRST_LOOK = 100
_YEARS = (19_000_101, 21_001_231)
_SECONDS_OF_YEARS = 1_000_000
"""What 20260131 is multiplied by in 20260131100000."""
_FEWEST_DATES = 20
_SHORT, _LONG = (10_101, 1_000_000), 10_000_000
"""Of numbers that could be 260131, and what the greatest of those that could be 31012026 has at least."""
_SPREADSHEET = (20_000, 80_000)
"""Days from 1954 to 2119."""


def formats_of_texts(texts: list[str]) -> tuple[TimeFormat, ...]:
    """Those that read every text, the likeliest first; where day and month could change places, both."""
    if _reads(TimeFormat.ISO, texts):
        return (TimeFormat.ISO,)
    found = [form for form in _OF_TEXTS if _reads(form, texts)]
    if TimeFormat.DMY in found and all("." in text for text in islice(texts, _FIRST_LOOK)):
        return (TimeFormat.DMY,)  # points are between days and months, not between months and days
    return tuple(found)


def format_of_numbers(name: str, numbers: np.ndarray) -> TimeFormat | None:
    """Of distinct numbers [N] under a name that says so, as epoch seconds and as 20260131 are."""
    if not len(numbers) or _last_word(name) not in WORDS:
        return None
    low, high = numbers.min(), numbers.max()
    if are_dates(numbers):
        return TimeFormat.YMD
    if _last_word(name) in _DAYS and _SPREADSHEET[0] <= low and high < _SPREADSHEET[1]:
        return TimeFormat.EXCEL
    return epoch_unit(numbers)


def are_dates(numbers: np.ndarray) -> bool:
    """Whether numbers [N] are 20260131 and the like, or 20260131100000."""
    low, high = numbers.min(), numbers.max()
    return any(
        _YEARS[0] * scale <= low
        and high < (_YEARS[1] + 1) * scale
        and _reads(TimeFormat.YMD, numbers.tolist())
        for scale in (1, _SECONDS_OF_YEARS)
    )


def are_short_dates(numbers: np.ndarray) -> bool:
    """Whether distinct whole numbers [N] are 260131, or 31012026 or 1312026, which no format reads. Among as
    many amounts one would be no date."""
    if len(numbers) < _FEWEST_DATES:
        return False
    ahead, behind, middle = numbers // 10_000, numbers % 100, numbers // 100 % 100
    if _SHORT[0] <= numbers.min() and numbers.max() < _SHORT[1]:
        return _are_days(behind, middle)
    years = numbers % 10_000
    if numbers.max() < _LONG or ((years < 1900) | (years > 2100)).any():
        return False
    return _are_days(ahead // 100, ahead % 100) or _are_days(ahead % 100, ahead // 100)


def _are_days(days: np.ndarray, months: np.ndarray) -> bool:
    return bool(((days >= 1) & (days <= 31) & (months >= 1) & (months <= 12)).all())


def epoch_unit(numbers: np.ndarray) -> TimeFormat | None:
    """In which unit numbers [N] could count from 1970."""
    low, high = EPOCH_SECONDS
    for form, unit in _UNITS.items():
        if low * unit <= numbers.min() and numbers.max() < high * unit:
            return form
    return None


def _reads(form: TimeFormat, values: list[str] | list[float]) -> bool:
    read = reader(form, "")
    try:
        return bool(values) and all(read(value) is not None for value in values)
    except ValueError:
        return False


def _last_word(name: str) -> str:
    """Of `createdAt` and `created_at`: at."""
    parted = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name).lower()
    return re.split(r"[^a-z]+", parted.rstrip(" _.-"))[-1]

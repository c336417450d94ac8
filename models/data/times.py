"""Times as people and programs write them -> seconds since 1970 on the clocks of one time zone, and back.

What comes with an offset, and epoch numbers, are moments: they are read on the zone's clocks. What comes
without one was read from them already. Whole microseconds, so that a time is read as it was written out.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from enum import StrEnum
from functools import cache, partial
from typing import Final
from zoneinfo import ZoneInfo

EPOCH: Final = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)
MOST_CHARACTERS = 100
SECONDS_OF_A_DAY = 86_400


class TimeFormat(StrEnum):
    """How times are written. ISO 8601 is read beside each of them."""

    ISO = "iso"
    DMY = "dmy"
    """31.01.2026 10:00, 31/01/26, 25-Apr-19, Sat, 31 Jan 2026 10:00:00 +0100, 31/Jan/2026:10:00:00 +0100."""
    MDY = "mdy"
    """01/31/2026 10:00 AM, Jan 31, 2026, Sat Jan 31 10:00:00 2026."""
    YMD = "ymd"
    """26-01-31, 20260131, 20260131T100000Z."""
    CLOCK = "clock"
    """A time of day without its day: 09:14:00."""
    EXCEL = "excel"
    """Days since the end of 1899, as spreadsheets count them: 46053.4."""
    EPOCH_S = "epoch s"
    EPOCH_MS = "epoch ms"
    EPOCH_US = "epoch us"
    EPOCH_NS = "epoch ns"

    @property
    def example(self) -> str:
        return _EXAMPLES[self]


_EXAMPLES = {
    TimeFormat.ISO: "2026-01-31T10:00:00Z",
    TimeFormat.DMY: "31.01.2026 10:00:00",
    TimeFormat.MDY: "01/31/2026 10:00:00",
    TimeFormat.YMD: "20260131",
    TimeFormat.CLOCK: "10:00:00",
    TimeFormat.EXCEL: "46053.416667",
    TimeFormat.EPOCH_S: "1769853600",
    TimeFormat.EPOCH_MS: "1769853600000",
    TimeFormat.EPOCH_US: "1769853600000000",
    TimeFormat.EPOCH_NS: "1769853600000000000",
}
_UNITS = {
    TimeFormat.EPOCH_S: 1,
    TimeFormat.EPOCH_MS: 1_000,
    TimeFormat.EPOCH_US: 1_000_000,
    TimeFormat.EPOCH_NS: 1_000_000_000,
}
"""Of an epoch number in a second."""
_EXCEL: Final = TimeFormat.EXCEL
_DAYS_UNTIL_1970 = 25_569
"""Since 30 December 1899, the day 0 of spreadsheets."""
_MOST = 253_402_300_800
"""Seconds until the year 10000."""
_CLOCK = (
    r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(:(?P<second>\d\d)([.,](?P<part>\d+))?)?"
    r"\s*(?P<half>[AaPp]\.?[Mm]\.?)?"
)
_OFFSET = r"(\s*(?P<offset>[Zz]|(UTC|GMT)?[+-]\d\d(:?\d\d)?|UTC|GMT)(\s*\([A-Za-z ]+\))?)?"
_AFTER = rf"(([T ,]|(?<=\d{{4}}):)\s*{_CLOCK}{_OFFSET})?"
_WEEKDAY = r"(?i:(mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+)?"
_ISO = re.compile(rf"(?P<year>\d{{4}})[-/.](?P<month>\d\d?)[-/.](?P<day>\d\d?){_AFTER}", re.ASCII)
_PART = r"[-/. ,]{1,2}"
_NAME = r"[A-Za-z]{3,9}\.?"
_YEAR = r"(?P<year>\d{4}|\d\d)"
_FORMS = {
    TimeFormat.DMY: re.compile(
        rf"{_WEEKDAY}(?P<day>\d\d?){_PART}(?P<month>\d\d?|{_NAME}){_PART}{_YEAR}{_AFTER}", re.ASCII
    ),
    TimeFormat.MDY: re.compile(
        rf"{_WEEKDAY}(?P<month>\d\d?|{_NAME}){_PART}(?P<day>\d\d?){_PART}{_YEAR}{_AFTER}"
        rf"|{_WEEKDAY}(?P<month_>{_NAME})\s+(?P<day_>\d\d?)\s+"
        r"(?P<hour_>\d\d):(?P<minute_>\d\d):(?P<second_>\d\d)(\s+(?P<offset_>UTC|GMT))?\s+(?P<year_>\d{4})",
        re.ASCII,
    ),
    TimeFormat.YMD: re.compile(
        rf"(?P<year>\d\d)[-/.](?P<month>\d\d?|{_NAME})[-/.](?P<day>\d\d?){_AFTER}"
        r"|(?P<year_>\d{4})(?P<month_>\d\d)(?P<day_>\d\d)"
        r"(T?(?P<hour_>\d\d)(?P<minute_>\d\d)(?P<second_>\d\d)?(?P<offset_>Z|[+-]\d\d(:?\d\d)?)?)?",
        re.ASCII,
    ),
    TimeFormat.CLOCK: re.compile(_CLOCK, re.ASCII),
}
"""What is matched in a second way has names that end in _."""
_PLAIN_SIZES = frozenset({16, 19, 20, 25})
"""Characters of 2026-01-31 10:00, with seconds, with Z, with +02:00."""
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_YOUNGEST = 69
"""Years of two digits: from here on they are of the twentieth century, as POSIX has it."""

Read = Callable[[object], float | None]


@cache
def zone_of(name: str) -> tzinfo:
    """The time zone of a name such as Europe/Berlin; UTC for "". Raises ValueError for one not known here."""
    if not name:
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # none of that name or no tables here; what is no key at all
        raise ValueError(
            f"{name!r} is no time zone that is known here: give one such as Europe/Berlin, and see that the "
            "package tzdata is installed"
        ) from None


@cache
def reader(form: TimeFormat, zone: str) -> Read:
    """What reads one value: see `read_time`. Raises ValueError for a zone that is not known here."""
    count = partial(_of_epoch, unit=_UNITS[form]) if form in _UNITS else None
    return partial(read_time, form=form, clocks=zone_of(zone), count=_of_days if form is _EXCEL else count)


def read_time(
    value: object, form: TimeFormat, clocks: tzinfo, count: Callable[[float, tzinfo], float] | None
) -> float | None:
    """Seconds since 1970 on the zone's clocks; None for None and blank text. `count` reads numbers.

    Raises ValueError with a sentence.
    """
    if value is None:
        return None
    if isinstance(value, str):
        text = value.strip() if len(value) <= MOST_CHARACTERS else value
        if not text:
            return None
        moment = _of_text(text, form, clocks) if len(text) <= MOST_CHARACTERS else None
        if moment is not None:
            return moment
        if count is not None and text.isascii():
            try:
                return count(int(text) if text.isdigit() else float(text), clocks)
            except (ValueError, OverflowError):
                pass
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if count is not None:
            try:
                return count(value, clocks)
            except (ValueError, OverflowError):
                pass
        elif form is TimeFormat.YMD and float(value).is_integer():
            moment = _of_text(str(int(value)), form, clocks)
            if moment is not None:
                return moment
    shown = repr(value[:39] + "…" if isinstance(value, str) and len(value) > 40 else value)
    raise ValueError(f"a time such as {form.example} was expected, not {shown}")


def spelled(seconds: float, form: TimeFormat) -> str:
    """ISO 8601 without an offset, or a time of day: what `read_time` reads as these seconds."""
    text = (EPOCH + timedelta(seconds=seconds)).isoformat()
    return text.partition("T")[2] if form is TimeFormat.CLOCK and 0 <= seconds < SECONDS_OF_A_DAY else text


def _of_text(text: str, form: TimeFormat, clocks: tzinfo) -> float | None:
    """None: it is not of this form, or no such time is."""
    try:
        moment = datetime.fromisoformat(text) if _is_plain_iso(text) else _matched(text, form)
        if moment is None:
            return None
        if moment.tzinfo is not None:
            moment = moment.astimezone(clocks).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None
    return _seconds(moment)


def _is_plain_iso(text: str) -> bool:
    """Whether it is written as programs do: the standard library reads that in a tenth of the time."""
    size = len(text)
    if size == 10:
        return text[4] == "-" == text[7]
    if size not in _PLAIN_SIZES or not (text[4] == "-" == text[7] and text[10] in "T " and text[13] == ":"):
        return False
    return size == 16 or (
        text[16] == ":" and (size == 19 or (text[19] == "Z" if size == 20 else text[22] == ":"))
    )


def _matched(text: str, form: TimeFormat) -> datetime | None:
    """By the form, or as ISO 8601 with all its liberties. Raises ValueError where no such time is."""
    found = _ISO.fullmatch(text)
    if found is None and form in _FORMS:
        found = _FORMS[form].fullmatch(text)
    if found is None:
        return None
    parts = {name.rstrip("_"): part for name, part in found.groupdict().items() if part}
    moment = datetime(*_date(parts), *_clock(parts))
    return moment.replace(tzinfo=_offset(parts["offset"])) if "offset" in parts else moment


def _date(parts: dict[str, str]) -> tuple[int, int, int]:
    if "year" not in parts:  # a time of day
        return 1970, 1, 1
    year, month = int(parts["year"]), parts["month"]
    if len(parts["year"]) == 2:
        year += 1900 if year >= _YOUNGEST else 2000
    number = int(month) if month.isdigit() else _MONTHS.index(month[:3].lower()) + 1
    return year, number, int(parts["day"])


def _clock(parts: dict[str, str]) -> tuple[int, int, int, int]:
    hour, half = int(parts.get("hour", 0)), parts.get("half")
    if half:
        if not 1 <= hour <= 12:
            raise ValueError
        hour = hour % 12 + (12 if half[0] in "pP" else 0)
    part = parts.get("part", "")[:6].ljust(6, "0")
    return hour, int(parts.get("minute", 0)), int(parts.get("second", 0)), int(part)


def _offset(text: str) -> tzinfo:
    """Of Z, UTC, +02, -0330, GMT+05:30."""
    digits = re.sub(r"\D", "", text)
    if not digits:
        return UTC
    ahead = timedelta(hours=int(digits[:2]), minutes=int(digits[2:] or 0))
    return timezone(-ahead if "-" in text else ahead)


def _of_days(value: float, _: tzinfo) -> float:
    """They are read from clocks already. Raises ValueError where no calendar reaches."""
    seconds = round((value - _DAYS_UNTIL_1970) * SECONDS_OF_A_DAY, 3)  # of a day 10 digits are written
    if not value > 0 or not seconds < _MOST:
        raise ValueError
    return seconds


def _of_epoch(value: float, clocks: tzinfo, unit: int) -> float:
    """Raises ValueError, OverflowError where no calendar reaches."""
    if unit >= 1_000_000 and isinstance(value, int):
        microseconds = value // (unit // 1_000_000)
    else:
        microseconds = round(value * (1_000_000 / unit))
    if not abs(microseconds) < _MOST * 1_000_000:
        raise ValueError
    if clocks is UTC:
        return microseconds / 1_000_000
    moment = datetime.fromtimestamp(0, UTC) + microseconds * _MICROSECOND
    return _seconds(moment.astimezone(clocks).replace(tzinfo=None))


def _seconds(moment: datetime) -> float:
    return (moment - EPOCH).total_seconds()

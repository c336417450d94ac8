"""Alert budgets, as people say them: alerts raised, false alerts, or a precision. Pure.

`40 a day`, `40 each day` and `1% of traffic` are alerts raised, all of them. `1% of normal` is false alerts:
of normal traffic this much is flagged, as far as the reference is normal. `precision 50%` is as many alerts
as there may be with half of them right.
"""

import re
from collections.abc import Callable

from msgspec import Struct

from nearnorm.models.errors import ConfigError
from nearnorm.service.verdict.traffic.pace import Every


class NormalShare(Struct, frozen=True):
    """Of normal traffic, in (0, 1)."""

    share: float


class TrafficShare(Struct, frozen=True):
    """Of all traffic, in (0, 1)."""

    share: float


class PerDay(Struct, frozen=True):
    """`every` week: the mean of one; every day: that day's own."""

    alerts: float
    every: Every


class Precision(Struct, frozen=True):
    """Of the alerts, at least this share is right, in (0, 1)."""

    share: float


Budget = NormalShare | TrafficShare | PerDay | Precision

LEAST_A_WEEK = 1 / 7
"""Alerts a day that are one a week: a mean of a week cannot be kept with fewer."""
MOST_A_DAY = 10_000_000.0
"""A hundred a second: nobody looks at more."""

_NUMBER = r"(-?[0-9]+(?:\.[0-9]+)?|-?\.[0-9]+)"
_FORMS: tuple[tuple[str, Callable[[float], Budget]], ...] = (
    (rf"{_NUMBER}\s*%(?:\s+of\s+normal(?:\s+traffic)?)?", lambda n: NormalShare(_share(n))),
    (rf"{_NUMBER}\s*%\s+of\s+(?:all\s+)?traffic", lambda n: TrafficShare(_share(n))),
    (rf"{_NUMBER}\s*(?:alerts?\s+)?(?:a|per)\s+day", lambda n: PerDay(_a_day(n), "week")),
    (rf"{_NUMBER}\s*(?:alerts?\s+)?each\s+day", lambda n: PerDay(_each_day(n), "day")),
    (rf"precision\s+{_NUMBER}\s*%", lambda n: Precision(_precision(n))),
)
EXAMPLES = '"1% of normal", "1% of traffic", "40 a day", "40 each day" or "precision 50%"'


def parse(text: str) -> Budget:
    """Read a budget. Raises ConfigError."""
    for form, budget in _FORMS:
        if found := re.fullmatch(form, text.strip(), re.IGNORECASE):
            return budget(float(found[1]))
    raise ConfigError(f"{text[:60]!r} is no budget: write {EXAMPLES}")


def _share(percent: float) -> float:
    if not 0.0 < percent < 100.0:
        raise ConfigError(f"a budget of {percent:g}% is none: give more than 0% and less than 100%")
    return percent / 100.0


def _precision(percent: float) -> float:
    if percent >= 100.0:
        raise ConfigError("no number of verdicts bears out a precision of 100%: ask for 99% or less")
    return _share(percent)


def _a_day(alerts: float) -> float:
    if alerts < LEAST_A_WEEK:
        raise ConfigError(
            f"a budget of {alerts:.6g} a day is less than one alert a week, the time over which it is kept: "
            'give at least "0.15 a day"'
        )
    if alerts > MOST_A_DAY:
        raise ConfigError(
            f"a budget of {alerts:,.0f} a day is more than anybody looks at: give at most {MOST_A_DAY:,.0f}, "
            'or a share such as "1% of traffic"'
        )
    return alerts


def _each_day(alerts: float) -> float:
    if _a_day(alerts) < 1.0:
        raise ConfigError(f'no day has {alerts:g} alerts: give at least "1 each day", or "{alerts:g} a day"')
    return alerts

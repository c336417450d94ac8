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

_NUMBER = r"(-?[0-9]+(?:\.[0-9]+)?|-?\.[0-9]+)"
_FORMS: tuple[tuple[str, Callable[[float], Budget]], ...] = (
    (rf"{_NUMBER}\s*%(?:\s+of\s+normal(?:\s+traffic)?)?", lambda n: NormalShare(_share(n))),
    (rf"{_NUMBER}\s*%\s+of\s+(?:all\s+)?traffic", lambda n: TrafficShare(_share(n))),
    (rf"{_NUMBER}\s*(?:alerts?\s+)?(?:a|per)\s+day", lambda n: PerDay(_alerts(n), "week")),
    (rf"{_NUMBER}\s*(?:alerts?\s+)?each\s+day", lambda n: PerDay(_alerts(n), "day")),
    (rf"precision\s+{_NUMBER}\s*%", lambda n: Precision(_share(n))),
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


def _alerts(alerts: float) -> float:
    if alerts <= 0.0:
        raise ConfigError(f"a budget of {alerts:g} a day is none: give a positive number")
    return alerts

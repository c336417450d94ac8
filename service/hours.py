"""The hours in which retrainings begin that nobody asked for: `22:00-06:00`, in UTC."""

import re
from typing import Self

from msgspec import Struct

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_MINUTE = 60_000  # ms
_DAY = 24 * 60


class Hours(Struct, frozen=True):
    """From one minute of the day up to another one, over midnight too."""

    begin: int
    end: int

    @classmethod
    def of(cls, text: str) -> Self:
        """Raises ValueError."""
        found = _HOURS.fullmatch(text)
        if not found or found[1] + found[2] == found[3] + found[4]:
            raise ValueError(f"{text!r} are no hours: write 22:00-06:00 (UTC)")
        return cls(60 * int(found[1]) + int(found[2]), 60 * int(found[3]) + int(found[4]))

    def next(self, now: int) -> int:
        """When they begin, or now, while they last (ms since 1970)."""
        minute = now // _MINUTE % _DAY
        if (minute - self.begin) % _DAY < (self.end - self.begin) % _DAY:
            return now
        return (now // _MINUTE + (self.begin - minute) % _DAY) * _MINUTE

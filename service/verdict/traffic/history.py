"""What traffic there was: how much, how its scores lay under the serving version, and who sent it."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from nearnorm.service.ledger.tables.events.traffic import Counted
from nearnorm.service.verdict.traffic.score_bins import BINS
from nearnorm.service.verdict.traffic.volume import Volume, expect

DAY = 24
VOLUME_DAYS = 28
"""Days of which the amount is known: four of each weekday."""
SKETCH_DAYS = 8
"""Days whose scores are known: one that is compared, and the week before it."""


class History(Struct, frozen=True, dict=True):
    """Whole trailing days, the newest first, up to the last full hour; less than a day is one short one.

    `volume` [D] and `raised` [D] are rows and alerts by day, `beside` [D] those alerts that no score raised
    (novel and confirmed records); `tails` maps a caller to [S, BINS]: the rows
    that score at least as high as each bin, by day, of the S <= D days whose scores are known. `hours` is how
    many full hours there were.
    """

    hours: int
    volume: NDArray[np.float64]
    raised: NDArray[np.float64]
    beside: NDArray[np.float64]
    tails: Mapping[str, NDArray[np.float64]]

    @cached_property
    def tail(self) -> NDArray[np.float64]:
        """[S, BINS] of all callers."""
        if not self.tails:
            return np.zeros((0, BINS))
        return np.asarray(np.sum(list(self.tails.values()), axis=0))

    @cached_property
    def expected(self) -> Volume:
        """How much traffic is to come; there is at least one day."""
        return expect(self.volume)


def trailing(hours: Sequence[Counted], now: int) -> History:
    """The history before the hour `now`. `bins` of an hour may stand for more or fewer rows than its `rows`,
    where they are events of another version, scored again."""
    first = min((hour.hour for hour in hours), default=now + 1)
    if first > now:
        return History(0, np.zeros(0), np.zeros(0), np.zeros(0), {})
    if first == now:  # no hour is full: what there is counts as one
        now += 1
        return msgspec.structs.replace(_days(hours, now, 1), hours=0)
    return _days(hours, now, now - first)


def _days(hours: Sequence[Counted], now: int, known: int) -> History:
    days = min(max(known // DAY, 1), VOLUME_DAYS)
    span = min(days * DAY, known)
    volume, raised, beside = np.zeros((3, days))
    scored = min(days, SKETCH_DAYS)
    bins: dict[str, NDArray[np.float64]] = {}
    for hour in hours:
        back = now - 1 - hour.hour
        if not 0 <= back < span:
            continue
        day = back // DAY
        volume[day] += hour.rows
        raised[day] += hour.raised
        beside[day] += hour.raised - hour.by_score
        if day < scored and hour.bins:
            found = bins.setdefault(hour.caller, np.zeros((scored, BINS)))
            found[day, list(hour.bins)] += list(hour.bins.values())
    tails = {caller: np.cumsum(found[:, ::-1], axis=1)[:, ::-1] for caller, found in bins.items()}
    whole = days * DAY / span
    return History(known, volume * whole, raised, beside * whole, tails)

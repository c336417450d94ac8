"""The threshold that keeps an alert budget, from the traffic itself.

`40 a day` is the mean of a week: days get their share of it by how much traffic their weekday brings. What
is novel or confirmed alerts whatever its score and uses the budget first, up to half of it. What was raised
too much or too little is made good over the next days. Nobody moves the threshold alone: under contention a
caller counts for no more than his share of the days before, and no day lifts it so far that less than a
sixteenth of what alerted by the week before would. Beyond that more alerts are raised, and `exceeded` says
so.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from nearnorm.service.ledger.tables.events.traffic import NOBODY
from nearnorm.service.verdict.traffic.history import DAY, History
from nearnorm.service.verdict.traffic.score_bins import BINS, EDGES
from nearnorm.service.verdict.traffic.volume import WEEK, Volume

WINDOWS = (1, 2, 3, 5, 7)
"""Whole days that the rate of alerts is taken over: as many as agree with the newest."""
SHARE_SLACK = 1.5
"""Times his share of the days before that a caller may count for under contention."""
NEWCOMER = 0.5
"""Of an equal share: what a caller counts for who had none the days before."""
LIFT = 16.0
"""Of what alerted by the week before, at least one part in so many goes on alerting, a day."""
_AGREE = 2.5  # standard errors within which two windows agree
_GAIN = 0.35  # of what is to be made good, a day
_MOST_OWED = 0.4  # of a day's budget
_MOST_ABOVE = 1.25  # times the wanted rate, where bins or ties are coarse
_LEFT_TO_SCORES = 0.5  # of a budget, at least: what alerts beside them can be sent by anybody
_VOLUME_ERROR = 0.03  # relative, at least

Every = Literal["week", "day"]


class Forecast(Struct, frozen=True):
    """Alerts in the next 24 hours, of so many `rows`: the mean, and the ends of its 90% interval."""

    low: float
    mean: float
    high: float
    rows: float


class Paced(Struct, frozen=True):
    """`threshold` is the lowest score that alerts. `base` is what it would be by the week before alone: what
    lies between the two was held back by the budget, not by the scores."""

    threshold: float
    base: float
    exceeded: bool


def pace(history: History, alerts: float, every: Every, since_days: int) -> Paced | None:
    """The threshold for so many `alerts` a day. None: no traffic is known.

    `since_days`: for how many days this budget has been in force; only those are made good.
    """
    if not len(history.tail):
        return None
    volume = history.expected
    plan = alerts * float(volume.factors[0]) if every == "week" else alerts
    by_score = plan * _correction(history, volume, alerts, every, since_days) - _beside(history)
    wanted = max(by_score, _LEFT_TO_SCORES * plan) / max(volume.tomorrow, 1.0)
    newest = _lowest(_rate(history, 1), 3 * wanted)
    window = _window(history, newest)
    counted = _counted(history, window, wanted)
    bin_ = _lowest(counted, wanted)
    base = _base(history, wanted)
    lifted = min(bin_, _highest_lift(history, base))
    return Paced(
        float(EDGES[lifted]),
        float(EDGES[min(base, lifted)]),
        bool(lifted < bin_ or _rate(history, window)[lifted] > 1.2 * counted[lifted]),
    )


def forecast_at(history: History, threshold: float) -> Forecast | None:
    """What a threshold raises in the next 24 hours. None: less than an hour's traffic is known."""
    if history.hours < 1 or not len(history.tail):
        return None
    bin_ = min(int(EDGES.searchsorted(np.float32(threshold), side="left")), BINS - 1)
    return _forecast(history, history.expected, bin_, _window(history, bin_))


def threshold_for_share(history: History, share: float) -> float | None:
    """The lowest score at which about `share` of all traffic alerts. None: no traffic is known."""
    if not len(history.tail):
        return None
    rate = _rate(history, len(history.tail))
    by_score = share - _beside(history) / max(float(history.volume[:WEEK].mean()), 1.0)
    return float(EDGES[_lowest(rate, max(by_score, _LEFT_TO_SCORES * share))])


def _beside(history: History) -> float:
    """Alerts of a day that no score raises: the mean of the last week."""
    week = history.beside[:WEEK]
    return float(week.mean()) if len(week) else 0.0


def _rate(history: History, days: int) -> NDArray[np.float64]:
    """[BINS]: the share of the newest days' rows that score at least as high."""
    tail = history.tail[:days].sum(axis=0)
    return np.asarray(tail / max(tail[0], 1.0))


def _lowest(rate: NDArray[np.float64], wanted: float) -> int:
    """The bin whose rate is the nearest to the wanted one, and not much above it."""
    below = min(int(np.searchsorted(-rate, -wanted)), BINS - 1)
    above = max(below - 1, 0)
    nearer = rate[above] * rate[below] < wanted * wanted  # as ratios
    return above if nearer and rate[above] <= _MOST_ABOVE * wanted else below


def _window(history: History, bin_: int) -> int:
    """How many newest days agree on the rate at a bin: the longest window whose older part does not differ
    from the newer one by more than chance."""
    tail = history.tail
    rows, alerts = tail[:, 0], tail[:, bin_]
    best = 1
    for width in WINDOWS:
        if not best < width <= len(tail):
            continue
        for newer in (w for w in WINDOWS if w < width):
            a, n = alerts[:newer].sum(), rows[:newer].sum()
            b, m = alerts[newer:width].sum(), rows[newer:width].sum()
            if not n or not m:
                continue
            pooled = (a + b) / (n + m)
            noise = np.sqrt(pooled * (1 / n + 1 / m))
            error = _AGREE * noise + 0.02 * pooled
            if abs(a / n - b / m) > error:
                return best
        best = width
    return best


def _counted(history: History, window: int, wanted: float) -> NDArray[np.float64]:
    """[BINS]: the rate at which each bin is to be counted, no caller beyond his share."""
    rate = _rate(history, window)
    callers = [tail for caller, tail in history.tails.items() if caller != NOBODY]
    rows = history.tail[:window, 0].sum()
    if len(callers) < 2 or rows == 0:
        return rate
    at = _lowest(rate, wanted)
    counted = np.zeros(BINS)
    if NOBODY in history.tails:
        counted += history.tails[NOBODY][:window].sum(axis=0) / rows
    for tail, share in zip(callers, _shares([tail[1:, at] for tail in callers]), strict=True):
        most = max(SHARE_SLACK * share, NEWCOMER / len(callers)) * wanted
        counted += np.minimum(tail[:window].sum(axis=0) / rows, most)
    return counted


def _shares(alerts: Sequence[NDArray[np.float64]]) -> list[float]:
    """What part of the alerts each caller had: of the days before the newest [D] each, or on the last of them
    where that is more, so that a caller who stays is known after a day."""
    by_day = np.array(alerts)
    if not by_day.shape[1]:
        return [0.0] * len(alerts)
    found = []
    for days in (by_day, by_day[:, :1]):
        total = days.sum()
        found.append(days.sum(axis=1) / total if total else np.zeros(len(alerts)))
    return np.maximum(*found).tolist()  # type: ignore[no-any-return]


def _base(history: History, wanted: float) -> int:
    """The bin by the days before the newest one; by the newest where it is the only one."""
    older = history.tail[1:].sum(axis=0)
    if not older.any():
        return _lowest(_rate(history, 1), wanted)
    return _lowest(older / max(older[0], 1.0), wanted)


def _highest_lift(history: History, base: int) -> int:
    older = history.tail[1:].sum(axis=0)
    if not older.any():
        return BINS - 1
    return min(int(np.searchsorted(-older, -older[base] / LIFT, side="right")) - 1, BINS - 1)


def _correction(history: History, volume: Volume, alerts: float, every: Every, since_days: int) -> float:
    owed, most = 0.0, _MOST_OWED * alerts
    for day in range(min(since_days, len(history.raised), 2 * WEEK) - 1, -1, -1):
        plan = alerts * (volume.factor_ago(day) if every == "week" else 1.0)
        owed = float(np.clip(owed + history.raised[day] - plan, -most, most))
    return float(np.clip(1.0 - _GAIN * owed / alerts, 0.6, 1.4))


def _forecast(history: History, volume: Volume, bin_: int, window: int) -> Forecast:
    seen = float(history.tail[:window, bin_].sum())
    mean = float(_rate(history, window)[bin_]) * volume.tomorrow + _beside(history)
    per_day = DAY / min(history.hours, DAY)
    known = max(seen, 0.5)
    variance = mean + mean**2 * (0.6 * per_day / known + _VOLUME_ERROR**2 / volume.days)
    spread = 1.645 * np.sqrt(variance)
    return Forecast(max(0.0, mean - spread), mean, mean + spread, volume.tomorrow)

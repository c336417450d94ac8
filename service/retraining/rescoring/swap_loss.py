"""Whether a new champion is clearly worse than the one before it, by what was said since the swap. Pure.

Both are asked about the same records, which neither trained on. What is labelled is mostly what the new
champion alerts on, so it is given the benefit of that: its own finds count for it. And no single labeller
decides: where several keys label, the loss must be there without the words of any one of them.
"""

from collections.abc import Sequence
from math import comb, exp, log, sqrt
from statistics import fmean, stdev

from msgspec import Struct

FEWEST = 10
"""Labels without which nothing is clear."""
FINEST = 0.01
"""Above the highest so many of traffic it does not matter how high."""
DEEPER = 0.2
"""Confirmed anomalies lie clearly deeper from this share of their depth on, if it is no chance either."""
CERTAIN = 2.0
"""Standard errors."""
RARELY = 0.01
"""A probability that is no chance."""
MORE_ALERTS, FEWEST_ALERTS = 2.0, 20


class Judged(Struct, frozen=True):
    """A record with a verdict since the swap: its rank in [0, 1] by the new champion and by the one before,
    whether each alerts on it, and the API key that alone says so; None: two do."""

    anomaly: bool
    new: float
    old: float
    new_alerts: bool
    old_alerts: bool
    key: str | None


def loss(judged: Sequence[Judged]) -> str | None:
    """A sentence on what was lost, whoever said so; None: nothing clear."""
    return _deeper(judged) or _false_alerts(judged)


def is_one_labellers_word(judged: Sequence[Judged]) -> bool:
    """Whether a loss stands on the words of one labeller alone."""
    keys = {one.key for one in judged if one.key is not None}
    return any(loss([one for one in judged if one.key != key]) is None for key in keys)


def too_many_alerts(new: float, old: float) -> str | None:
    """Of `new` and `old` alerts on the same traffic: a sentence where the new ones are clearly more."""
    if new - old < FEWEST_ALERTS or new <= MORE_ALERTS * old:
        return None
    return f"it raises {new:,.0f} alerts where the version before would have raised {old:,.0f}"


def _deeper(judged: Sequence[Judged]) -> str | None:
    differences = [
        log(max(1.0 - one.new, FINEST)) - log(max(1.0 - one.old, FINEST)) for one in judged if one.anomaly
    ]
    if len(differences) < FEWEST:
        return None
    mean, error = fmean(differences), stdev(differences) / sqrt(len(differences))
    if mean <= log(1 + DEEPER) or mean <= CERTAIN * error:
        return None
    return (
        f"{len(differences)} anomalies that were confirmed since lie {exp(mean) - 1:.0%} deeper than by the "
        "version before"
    )


def _false_alerts(judged: Sequence[Judged]) -> str | None:
    """Most of its alerts are ones that the version before would not have raised, and they are hardly ever
    right, where those that both raise are."""
    both = [one.anomaly for one in judged if one.new_alerts and one.old_alerts]
    gained = [one.anomaly for one in judged if one.new_alerts and not one.old_alerts]
    if min(len(both), len(gained)) < FEWEST or len(gained) <= len(both):
        return None
    usual = sum(both) / len(both)
    if _at_most(sum(gained), len(gained), usual / 2) > RARELY:
        return None
    return (
        f"of {len(gained)} judged alerts that the version before would not have raised {sum(gained)} are "
        f"right, of {len(both)} that both raise {sum(both)}"
    )


def _at_most(hits: int, rows: int, share: float) -> float:
    """The binomial probability of at most so many hits where each row is one with probability `share`."""
    return sum(comb(rows, k) * share**k * (1 - share) ** (rows - k) for k in range(hits + 1))

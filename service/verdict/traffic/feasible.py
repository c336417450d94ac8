"""Whether the traffic seen can give as many alerts as a budget asks, or as few. Pure."""

import numpy as np

from nearnorm.service.verdict.traffic.history import History
from nearnorm.service.verdict.traffic.score_bins import BINS, EDGES
from nearnorm.service.verdict.traffic.volume import WEEK

TOO_MANY = 1.5
"""Times what a budget asks for."""


def doubts(history: History, alerts_a_day: float, threshold: float) -> list[str]:
    """What stands against `alerts_a_day` at the threshold that was found for them, in sentences.

    Until an hour is full nothing is known of a day, and nothing is said.
    """
    if history.hours < 1 or not len(history.tail):
        return []
    rows = float(history.volume[:WEEK].mean())
    if alerts_a_day > rows:
        return [
            f"{alerts_a_day:,.7g} alerts a day are more than the {rows:,.0f} rows a day that were seen: "
            "every row is one, and there are no more"
        ]
    asked = f"{alerts_a_day:.3g} alerts a day are fewer than the traffic seen tells apart: "
    tail = history.tail.sum(axis=0)
    bin_ = int(EDGES.searchsorted(np.float32(threshold)))
    alike = tail[bin_] / tail[0] * rows
    if not alike:
        return [asked + "the threshold lies above every score of it, and no score is expected to alert"]
    if bin_ == BINS - 1 and alike > TOO_MANY * alerts_a_day:
        return [asked + f"{alike:,.0f} rows a day have the highest score there is, and all of them alert"]
    return []

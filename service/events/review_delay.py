"""When kept events become candidates for review: at once, or in a flood of them a few seconds later.

An event goes to the ledger's end, a candidate to some place in the middle: two pages are written for it.
Thousands at once share their pages, and cost half.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple, Self

FLOOD = 100
"""Events that come at once, between two writes, from which on their candidates wait for more."""
MOST_ROWS = 5_000
LONGEST = 5.0
"""Seconds that they wait at most."""


class Pending(NamedTuple):
    """Events from id `first` to id `last` that are no candidates yet; the oldest of them since `since`."""

    first: str = ""
    last: str = ""
    rows: int = 0
    since: float = 0.0

    def joined(self, ids: Sequence[str]) -> Self:
        """With the events that come next."""
        if not ids:
            return self
        first, since = (self.first, self.since) if self.rows else (min(ids), time.monotonic())
        return type(self)(first, max(ids), self.rows + len(ids), since)

    def due(self, new: int) -> bool:
        """Whether to wait no longer, where `new` events came last."""
        if not self.rows:
            return False
        return new <= FLOOD or self.rows >= MOST_ROWS or time.monotonic() - self.since >= LONGEST

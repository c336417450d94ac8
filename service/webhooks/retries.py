"""When a message that was not taken is sent again: ever later, by chance, for a day."""

import random

from msgspec import Struct

HOUR_MS = 3_600_000


class Retries(Struct, frozen=True):
    """Times in ms. The first pause, which doubles with every attempt, the longest, and when to give up."""

    first: int = 1_000
    longest: int = HOUR_MS
    give_up: int = 24 * HOUR_MS

    def pause(self, attempts: int, retry_after: float | None) -> int:
        """After so many attempts; half to one and a half times, so that those of one outage do not come
        back all at once. A receiver that asks for longer gets it, up to the longest."""
        doubled = min(self.first * 2 ** min(attempts - 1, 40), self.longest)
        asked = 0.0 if retry_after is None else min(retry_after * 1_000, self.longest)
        return int(max(doubled * random.uniform(0.5, 1.5), asked))  # noqa: S311 - no secret

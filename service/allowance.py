"""So many a second, and no more: what is worth doing for a sample of the traffic only."""


class Allowance:
    """A bucket that fills with `rate` a second and holds one second's worth."""

    __slots__ = ("_left", "_rate", "_then")

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._left = rate
        self._then = 0.0

    def take(self, count: int, now: float) -> int:
        """How many of `count` are granted. `now` is monotonic, in seconds."""
        self._left = min(self._rate, self._left + (now - self._then) * self._rate)
        self._then = now
        granted = min(count, int(self._left))
        self._left -= granted
        return granted

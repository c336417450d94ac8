"""Token bucket: a mean rate that holds, with bursts of at most a second's worth."""


class TokenBucket:
    """Fills with `rate` a second, and holds a second's worth. `now`: seconds of a clock that only grows.

    Two ways to draw: `take` grants what is there, for a sample of the traffic; `owe` draws all that is asked
    for once `wait` finds something in it, so that a request larger than a second's worth can be answered, and
    the mean is kept all the same.
    """

    __slots__ = ("_left", "_rate", "_then")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._left = rate
        self._then = now

    def left(self, now: float) -> float:
        """What is in it; below 0: what it owes."""
        self._left = min(self._rate, self._left + (now - self._then) * self._rate)
        self._then = now
        return self._left

    def wait(self, now: float) -> float:
        """Seconds until something is in it; 0: there is."""
        return max(0.0, (1.0 - self.left(now)) / self._rate)

    def owe(self, count: float) -> None:
        """Draw `count`, even below nothing."""
        self._left -= count

    def take(self, count: int, now: float) -> int:
        """How many of `count` are granted."""
        granted = max(0, min(count, int(self.left(now))))
        self._left -= granted
        return granted

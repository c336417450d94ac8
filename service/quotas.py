"""What one caller may ask for: rows and requests a second, and the size of one request."""

import math
from time import monotonic

from msgspec import Struct
from msgspec.structs import asdict

from service.errors import RateLimited, TooManyRows


class Quota(Struct, frozen=True):
    """None: as the service's settings say."""

    rows_per_second: int | None = None
    requests_per_second: int | None = None
    rows_per_request: int | None = None
    bytes_per_request: int | None = None

    def limits(self) -> dict[str, int]:
        """Those that are set, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def over(self, default: "Quota") -> "Quota":
        """This quota, and the default's limits where it has none."""
        return Quota(**(default.limits() | self.limits()))


class Bucket:
    """Fills with `rate` a second, and holds a second's worth.

    Whoever finds something in it gets all that he asks for; it fills from below nothing then. So a request
    larger than a second's worth can be answered, and the mean is kept all the same.
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

    def take(self, count: float) -> None:
        self._left -= count


class Meter:
    """Holds one caller to a quota."""

    def __init__(self, quota: Quota, whose: str) -> None:
        self.quota = quota
        self._whose = whose
        self._rows = Bucket(quota.rows_per_second, monotonic()) if quota.rows_per_second else None
        self._requests = Bucket(quota.requests_per_second, monotonic()) if quota.requests_per_second else None

    def request(self) -> None:
        """One more request. Raises RateLimited."""
        _take(self._requests, 1, f"{self._whose} {self.quota.requests_per_second} requests a second")

    def body_bytes(self, most: int) -> int:
        """The largest body, where `most` is the service's own limit."""
        own = self.quota.bytes_per_request
        return most if own is None else min(own, most)

    def rows(self, count: int) -> None:
        """Rows of one request, before they are scored. Raises TooManyRows, RateLimited."""
        most = self.quota.rows_per_request
        if most is not None and count > most:
            raise TooManyRows(
                f"{count} rows were sent and {self._whose} {most} a request: send several requests"
            )
        _take(self._rows, count, f"{self._whose} {self.quota.rows_per_second} rows a second")


def _take(bucket: Bucket | None, count: int, limit: str) -> None:
    if bucket is None:
        return
    wait = bucket.wait(monotonic())
    if wait:
        seconds = math.ceil(wait)
        raise RateLimited(
            f"{limit}: send again in {seconds} s, or ask for a higher limit",
            headers={"Retry-After": str(seconds)},
        )
    bucket.take(count)

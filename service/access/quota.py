"""Rate limiter: holds a caller, or all of a line together, to rows and requests a second, and a size."""

import math
from time import monotonic

from nearnorm.service.errors import RateLimited, TooManyRows
from nearnorm.service.ledger.quota import Quota
from nearnorm.service.ledger.tables.spending import Spent
from nearnorm.service.token_bucket import TokenBucket


class Meter:
    """Holds one caller, or a line's callers together, to a quota. `spent` is what was let through, and only
    grows.

    Requests come in one thread, and what others let through in another: each counts up what is its own alone.
    """

    def __init__(self, quota: Quota, whose: str) -> None:
        self.quota = quota
        self._whose = whose
        self.spent = Spent()
        self._elsewhere = Spent()
        self._charged = Spent()
        now = monotonic()
        self._rows = TokenBucket(quota.rows_per_second, now) if quota.rows_per_second else None
        self._requests = TokenBucket(quota.requests_per_second, now) if quota.requests_per_second else None

    def request(self) -> None:
        """One more request. Raises RateLimited."""
        self._charge()
        _check(self._requests, f"{self._whose} {self.quota.requests_per_second} requests a second")
        if self._requests is not None:
            self._requests.owe(1)
        self.spent = Spent(self.spent.rows, self.spent.requests + 1)

    def owe(self, rows: int, requests: int) -> None:
        """What others let the caller through counts here too."""
        known = self._elsewhere
        self._elsewhere = Spent(known.rows + rows, known.requests + requests)

    def body_bytes(self, most: int) -> int:
        """The largest body, where `most` is the service's own limit."""
        own = self.quota.bytes_per_request
        return most if own is None else min(own, most)

    def rows(self, count: int) -> None:
        """Rows of one request, before they are scored. Raises TooManyRows, RateLimited."""
        self.check_rows(count)
        self.draw_rows(count)

    def check_rows(self, count: int) -> None:
        """Whether they would come through; nothing is drawn. Raises TooManyRows, RateLimited."""
        most = self.quota.rows_per_request
        if most is not None and count > most:
            raise TooManyRows(
                f"{count} rows were sent and {self._whose} {most} a request: send several requests"
            )
        self._charge()
        _check(self._rows, f"{self._whose} {self.quota.rows_per_second} rows a second")

    def draw_rows(self, count: int) -> None:
        if self._rows is not None:
            self._rows.owe(count)
        self.spent = Spent(self.spent.rows + count, self.spent.requests)

    def _charge(self) -> None:
        elsewhere, charged = self._elsewhere, self._charged
        if elsewhere is not charged:
            _owe(self._rows, elsewhere.rows - charged.rows)
            _owe(self._requests, elsewhere.requests - charged.requests)
            self._charged = elsewhere


def _owe(bucket: TokenBucket | None, count: int) -> None:
    if bucket is not None:
        bucket.left(monotonic())  # what it was idle before pays for nothing now
        bucket.owe(count)


def _check(bucket: TokenBucket | None, limit: str) -> None:
    if bucket is None:
        return
    wait = bucket.wait(monotonic())
    if wait:
        seconds = math.ceil(wait)
        raise RateLimited(
            f"{limit}: send again in {seconds} s, or ask for a higher limit",
            headers={"Retry-After": str(seconds)},
        )

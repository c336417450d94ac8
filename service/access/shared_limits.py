"""Limits that count over several processes: each tells the ledger what it let through, and hears of others.

A second passes until all know: meanwhile every process may let a second's worth through. What was too much is
owed everywhere, so that over time callers and lines have their rate, however many processes there are.
"""

import secrets
import threading
from collections.abc import Callable, Mapping

from nearnorm.service.access.quota import Meter
from nearnorm.service.background import Background
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables import spending
from nearnorm.service.ledger.tables.spending import Spent

SHARING = "counting limits together"
EVERY = 1.0  # seconds
GONE = 3_600_000  # milliseconds without a word after which a process's counts are forgotten


class SharedLimits:
    """One thread, from `start` to `close`. `meters` are those that count, by names that processes share."""

    def __init__(
        self, ledger: Ledger, background: Background, meters: Callable[[], Mapping[str, Meter]]
    ) -> None:
        self._ledger = ledger
        self._background = background
        self._meters = meters
        self._process = secrets.token_hex(8)
        self._own: dict[str, Spent] = {}  # since our start, by the meter's name
        self._read: dict[str, tuple[Meter, Spent]] = {}  # up to where meters were read
        self._told: dict[str, tuple[Spent, int]] = {}  # and when
        self._heard: dict[tuple[str, str], Spent] | None = None  # None: nothing yet
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = self._background.start_thread(SHARING, self._share)

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5.0)

    def exchange(self) -> None:
        """Charge what others let through, and tell what we did. Raises LedgerUnavailable.

        In this order: whoever finds a process told of knows that from now on it charges what others do.
        """
        meters = self._meters()
        self._charge(meters)
        self._count(meters)
        now = now_ms()
        if news := {caller: one for caller, one in self._own.items() if self._is_news(caller, one, now)}:
            with self._ledger.write() as connection:
                spending.put(connection, self._process, news, now)
                spending.forget(connection, now - GONE)
            self._told |= {caller: (one, now) for caller, one in news.items()}

    def _charge(self, meters: Mapping[str, Meter]) -> None:
        with self._ledger.read() as connection:
            heard = spending.of_others(connection, self._process)
        if self._heard is not None:  # what others did before we came is not ours to charge
            for (process, caller), one in heard.items():
                before = self._heard.get((process, caller), Spent())
                if meter := meters.get(caller):
                    meter.owe(one.rows - before.rows, one.requests - before.requests)
        self._heard = heard

    def _count(self, meters: Mapping[str, Meter]) -> None:
        for caller, meter in meters.items():
            known, before = self._read.get(caller, (meter, Spent()))
            if known is not meter:  # another quota: it counts from nothing
                before = Spent()
            now = Spent(meter.spent.rows, meter.spent.requests)
            self._read[caller] = (meter, now)
            own = self._own.get(caller, Spent())
            self._own[caller] = Spent(
                own.rows + now.rows - before.rows, own.requests + now.requests - before.requests
            )

    def _is_news(self, caller: str, one: Spent, now: int) -> bool:
        """Told again now and then, too, so that it is not forgotten while we live."""
        told, at = self._told.get(caller, (Spent(), now))
        return one != told or now - at > GONE / 3

    def _share(self) -> None:
        while not self._stop.wait(EVERY):
            try:
                self.exchange()
            except Exception as error:
                self._background.failed(SHARING, error)
            else:
                self._background.works(SHARING)

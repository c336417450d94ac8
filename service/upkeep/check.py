"""The store's check on a schedule: one process of all verifies it, and all tell what was found."""

import threading
import time

from nearnorm.models.errors import StoreOutOfReach
from nearnorm.models.store.folder import ModelStore
from nearnorm.models.store.verify import verify
from nearnorm.service.background import Background
from nearnorm.service.errors import LedgerUnavailable
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables import store_checks
from nearnorm.service.ledger.tables.store_checks import StoreCheck
from nearnorm.service.logs import log

CHECKING = "checking the model store"
LOOK_SECONDS = 30.0
"""Between looks at the ledger, from the start on: what a start needs goes first."""
BREATH = 0.05  # seconds between versions, so that requests go first
LONGEST = 3600 * 1000  # ms after which a check that did not end is another process's to make


class StoreWatch:
    """One thread, from `start` to `close`."""

    def __init__(self, ledger: Ledger, background: Background, hours: float) -> None:
        """`hours` lie between two checks; 0: the store is never checked."""
        self._ledger, self._background = ledger, background
        self._pause = int(hours * 3600 * 1000)
        self._store: ModelStore | None = None
        self._swept = time.monotonic()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.last: StoreCheck | None = None

    def start(self, store: ModelStore) -> None:
        self._store = store
        if self._pause:
            self._thread = self._background.start_thread(CHECKING, self._run)

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5.0)

    def look(self, store: ModelStore) -> None:
        """Check the store if it is due, and learn what was found last, here or elsewhere.

        Raises LedgerUnavailable, StoreError.
        """
        with self._ledger.read() as connection:
            seen = store_checks.find(connection, key(store))
        if self._is_due(seen):
            with self._ledger.write() as connection:
                begun = store_checks.begin(connection, key(store), seen, now_ms())
            if begun and (found := self._check(store)) is not None:
                with self._ledger.write() as connection:
                    store_checks.put(connection, found)
                for version, problem in found.problems.items():
                    log.error("a stored version is damaged", version=version, problem=problem)
        if time.monotonic() - self._swept > self._pause / 1000:
            self._swept = time.monotonic()
            store.sweep()
        with self._ledger.read() as connection:
            self.last = store_checks.find(connection, key(store))

    def _is_due(self, seen: StoreCheck | None) -> bool:
        """Nobody has checked it lately, nor is at it. What lies ahead is of a clock that was put back."""
        if seen is None:
            return True
        now = now_ms()
        goes_on = seen.begun > seen.ended and now - LONGEST < seen.begun <= now
        return not goes_on and not now - self._pause < seen.ended <= now

    def _check(self, store: ModelStore) -> StoreCheck | None:
        """None: the process ends."""
        begun, versions = now_ms(), 0
        problems: dict[str, str] = {}
        for version, problem in verify(store):
            versions += 1
            if problem is not None:
                problems[version] = problem
            if self._stop.wait(BREATH):
                return None
        return StoreCheck(key(store), begun, now_ms(), versions, problems)

    def _run(self) -> None:
        assert self._store is not None  # noqa: S101 - `start` gave it
        while not self._stop.wait(LOOK_SECONDS):
            try:
                self.look(self._store)
            except (LedgerUnavailable, StoreOutOfReach):
                continue  # following either tells it
            self._tell()

    def _tell(self) -> None:
        problems = self.last.problems if self.last else {}
        if problems:
            first = next(iter(problems.values()))
            more = f" (and {len(problems) - 1} more: `nearnorm models verify`)" if len(problems) > 1 else ""
            self._background.tells(CHECKING, f"the model store is damaged: {first}{more}")
        else:
            self._background.works(CHECKING)


def key(store: ModelStore) -> str:
    """How the ledger names a store: by its URL, or its whole path."""
    return store.name if "://" in store.name else str(store.root.absolute())

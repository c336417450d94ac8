"""The event log's writer: keeps every alert and a random slice of all traffic, never in a request's way.

`offer` runs in the event loop and only notes; one thread writes, in groups. What the queue has no room
for is dropped and counted: a score never waits for the log.
"""

import collections
import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from service import budget
from service.encode import Encoded, Encoder, Rows
from service.errors import LedgerUnavailable
from service.ids import new_id, now_ms
from service.ledger import erasure, events, policy, requests
from service.ledger.database import Ledger
from service.ledger.events import Event
from service.logs import log
from service.matching import record_digest

INTERVAL = 0.2  # seconds between groups: what a killed process can lose
QUEUE_ROWS = 20_000
PAUSE = 1.0  # seconds before a group is tried again
TRAFFIC_EVERY = 2.0
SWEEP_EVERY = 60.0
TRAFFIC_DAYS = 35
REQUEST_DAYS = 7
VERDICT_HOURS = 1
_HOUR_MS = 3600 * 1000
_DAY_MS = 24 * _HOUR_MS


@dataclass(slots=True)
class Scored:
    """A request's scored rows: one element a row of `encoded.rows`.

    `alert` is whether the score alone is above the threshold; `anomaly` the verdict, with what analysts said.
    `ids` are the callers', by place, if given.
    """

    model: str
    version: str
    encoder: Encoder
    encoded: Encoded
    score: Sequence[float]
    percentile: Sequence[float]
    alert: Sequence[bool]
    anomaly: Sequence[bool]
    prototype: Sequence[int]
    ids: Sequence[str | int] | None


@dataclass(slots=True)
class _Kept:
    """The kept rows of a batch, cut out of it, so that a large batch does not stay in memory.

    `answers` are score, percentile, alert, anomaly and prototype of each.
    """

    model: str
    version: str
    encoder: Encoder
    encoded: Encoded
    ids: list[str | None]
    answers: list[tuple[float, float, bool, bool, int]]
    audit: list[bool]
    event_ids: list[str]
    at: int

    def event(self, i: int, rate: float) -> Event:
        record = self.encoder.record(self.encoded, i)
        score, percentile, alert, anomaly, prototype = self.answers[i]
        return Event(
            self.event_ids[i],
            self.at,
            self.model,
            self.version,
            self.ids[i],
            record_digest(record),
            record,
            score,
            percentile,
            anomaly,
            prototype,
            self.audit[i],
            1.0 if alert else rate,
        )


class EventLog:
    """`rate` of all rows is kept at random, whatever their score; `rows` and `days` bound the log."""

    def __init__(self, ledger: Ledger, rate: float, rows: int, days: float) -> None:
        self._ledger, self._rate, self._rows, self._days = ledger, rate, rows, days
        self._rng = np.random.default_rng()
        self._gap = self._next_gap()
        self._queue: collections.deque[_Kept] = collections.deque()
        self._waiting: dict[str, tuple[_Kept, int]] = {}
        self._seen: collections.deque[tuple[str, Sequence[float]]] = collections.deque(maxlen=100_000)
        self._traffic: collections.Counter[tuple[str, int, int]] = collections.Counter()
        self._traffic_at = -TRAFFIC_EVERY
        self._stop = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="event-log", daemon=True)
        self.kept = 0
        self.dropped = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float = 5.0) -> None:
        """Write what waits and end the thread; what cannot be written in time is lost."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def offer(self, batch: Scored) -> dict[int, str]:
        """The event_id of every row that is kept, by its index. Never blocks, never raises for the ledger."""
        self._seen.append((batch.model, batch.percentile))
        drawn = self._draw(len(batch.score))
        if not drawn and True not in batch.alert:
            return {}
        kept = list(itertools.compress(range(len(batch.alert)), batch.alert))
        if drawn:
            kept = sorted({*drawn, *kept})
        room = QUEUE_ROWS - len(self._waiting)
        if len(kept) > room:
            self.dropped += len(kept) - max(room, 0)
            kept = kept[: max(room, 0)]
            if not kept:
                return {}
        cut = _cut(batch, kept, set(drawn))
        for i, event_id in enumerate(cut.event_ids):
            self._waiting[event_id] = (cut, i)
        self._queue.append(cut)
        self.kept += len(kept)
        return dict(zip(kept, cut.event_ids, strict=True))

    @property
    def backlog(self) -> int:
        """Kept events that are not in the ledger yet."""
        return len(self._waiting)

    def waiting(self, event_id: str) -> Event | None:
        """An event that has its id but is not in the ledger yet."""
        found = self._waiting.get(event_id)
        return found and found[0].event(found[1], self._rate)

    def newest_waiting(self, model: str, record_id: str) -> Event | None:
        for cut, i in reversed(list(self._waiting.values())):
            if cut.model == model and cut.ids[i] == record_id:
                return cut.event(i, self._rate)
        return None

    @contextlib.contextmanager
    def forgetting(self, record_id: str) -> Iterator[None]:
        """Take the record's events out of the queue, and let none slip into the ledger meanwhile."""
        with self._writing:
            for cut in list(self._queue):
                for i, event_id in enumerate(cut.event_ids):
                    if cut.ids[i] == record_id:
                        self._waiting.pop(event_id, None)
            yield

    def flush(self) -> None:
        """Write everything that waits now. Raises LedgerUnavailable; nothing is lost by that."""
        with self._writing:
            group = list(self._queue)
            self._count_traffic()
            traffic = self._due_traffic()
            if not group and not traffic:
                return
            rows = [
                cut.event(i, self._rate)
                for cut in group
                for i, event_id in enumerate(cut.event_ids)
                if event_id in self._waiting
            ]
            with self._ledger.write() as connection:
                events.append(connection, rows)
                policy.count(connection, traffic)
            if traffic:
                self._traffic.clear()
                self._traffic_at = time.monotonic()
            self._forget(group)

    def _due_traffic(self) -> dict[tuple[str, int, int], int]:
        """Counts are written now and then, and when the log is stopped."""
        due = self._stop.is_set() or time.monotonic() - self._traffic_at > TRAFFIC_EVERY
        return dict(self._traffic) if due else {}

    def _forget(self, group: list[_Kept]) -> None:
        for cut in group:
            self._queue.popleft()
            for event_id in cut.event_ids:
                self._waiting.pop(event_id, None)

    def _draw(self, count: int) -> list[int]:
        """Each row with the same chance, by drawing the distance to the next: one draw a kept row."""
        drawn = []
        while self._gap < count:
            drawn.append(self._gap)
            self._gap += 1 + self._next_gap()
        self._gap -= count
        return drawn

    def _next_gap(self) -> int:
        return int(self._rng.geometric(self._rate)) - 1 if self._rate > 0 else 2**62

    def _count_traffic(self) -> None:
        hour = now_ms() // _HOUR_MS
        seen: dict[str, list[Sequence[float]]] = collections.defaultdict(list)
        for _ in range(len(self._seen)):
            model, percentile = self._seen.popleft()
            seen[model].append(percentile)
        for model, percentiles in seen.items():
            rows = np.fromiter(itertools.chain.from_iterable(percentiles), np.float64)
            for bin_, count in enumerate(budget.bins(rows).tolist()):
                if count:
                    self._traffic[model, hour, bin_] += count

    def _run(self) -> None:
        sweep_at = time.monotonic() + SWEEP_EVERY
        while True:
            last = self._stop.wait(INTERVAL)
            if not self._safely(self.flush) and not last:
                self._stop.wait(PAUSE)
            if last:
                return
            if time.monotonic() > sweep_at:
                self._safely(self.sweep)
                sweep_at = time.monotonic() + SWEEP_EVERY

    def _safely(self, work: Callable[[], None]) -> bool:
        try:
            work()
        except LedgerUnavailable as error:
            log.warning("events wait for the ledger", problem=str(error), waiting=len(self._waiting))
            return False
        except Exception as error:  # a group that can never be written must not stop those behind it
            log.error("a group of events was dropped", exc_info=error)
            with self._writing:
                group = list(self._queue)
                self.dropped += sum(len(cut.event_ids) for cut in group)
                self._forget(group)
            return False
        return True

    def sweep(self) -> None:
        """Delete what is older or more than the log may hold."""
        before = now_ms() - int(self._days * _DAY_MS)
        more = True
        while more and not self._stop.is_set():
            with self._ledger.write() as connection:
                more = events.prune(connection, before, self._rows) >= events.CHUNK
        with self._ledger.write() as connection:
            requests.prune(connection, now_ms() - REQUEST_DAYS * _DAY_MS)
            erasure.prune(connection, now_ms() - VERDICT_HOURS * _HOUR_MS)
            policy.forget_traffic(connection, now_ms() // _HOUR_MS - TRAFFIC_DAYS * 24)


def _cut(batch: Scored, kept: list[int], drawn: set[int]) -> _Kept:
    places, rows, sent = batch.encoded.places(), batch.encoded.rows, batch.encoded.unknown
    unknown = (
        {i: sent[places[index]] for i, index in enumerate(kept) if places[index] in sent} if sent else {}
    )
    if len(kept) == 1:  # by far the most frequent case, and 5 times as fast
        only = slice(kept[0], kept[0] + 1)
        part = Rows(rows.numeric[only].copy(), rows.codes[only].copy())
    else:
        part = Rows(rows.numeric[kept], rows.codes[kept])
    return _Kept(
        batch.model,
        batch.version,
        batch.encoder,
        Encoded(part, len(kept), unknown=unknown),
        [None] * len(kept) if batch.ids is None else [_id(batch.ids[places[index]]) for index in kept],
        [
            (batch.score[i], batch.percentile[i], batch.alert[i], batch.anomaly[i], batch.prototype[i])
            for i in kept
        ],
        [index in drawn for index in kept],
        [new_id() for _ in kept],
        now_ms(),
    )


def _id(given: str | int) -> str:
    return str(given).replace("\0", "\N{REPLACEMENT CHARACTER}")  # PostgreSQL stores no NUL

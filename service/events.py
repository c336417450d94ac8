"""The event log's writer: keeps every alert and a random slice of all traffic, never in a request's way.

`offer` runs in the event loop and only notes; one thread writes, in groups. What the queue has no room
for is dropped and counted: a score never waits for the log.
"""

import collections
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service import budget
from service.encode import Encoded, Encoder, Rows
from service.errors import LedgerUnavailable
from service.ids import new_id, now_ms
from service.ledger import events, policy, requests
from service.ledger.database import Ledger
from service.matching import record_digest

INTERVAL = 0.1  # seconds between groups: what a killed process can lose
QUEUE_ROWS = 20_000
PAUSE = 1.0  # seconds before a group is tried again
SWEEP_EVERY = 60.0
TRAFFIC_DAYS = 35
REQUEST_DAYS = 7
_DAY_MS = 24 * 3600 * 1000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Scored:
    """A scored batch: one element a row of `encoded.rows`. `ids` are the callers', by place, if given."""

    model: str
    version: str
    encoder: Encoder
    encoded: Encoded
    score: NDArray[np.float32]
    percentile: NDArray[np.float64]
    anomaly: NDArray[np.bool_]
    prototype: NDArray[np.int64]
    ids: Sequence[str | int] | None


@dataclass(frozen=True, slots=True)
class _Kept:
    """The kept rows of a batch, cut out of it, so that a large batch does not stay in memory."""

    batch: Scored
    event_ids: list[str]
    audit: list[bool]
    at: int

    def event(self, i: int, rate: float) -> events.Event:
        batch = self.batch
        record = batch.encoder.record(batch.encoded, i)
        anomaly = bool(batch.anomaly[i])
        id_ = None if batch.ids is None else str(batch.ids[i]).replace("\0", "\N{REPLACEMENT CHARACTER}")
        return events.Event(
            event_id=self.event_ids[i],
            at=self.at,
            model=batch.model,
            model_version=batch.version,
            record_id=id_,
            digest=record_digest(record),
            record=record,
            score=float(batch.score[i]),
            percentile=float(batch.percentile[i]),
            anomaly=anomaly,
            prototype=int(batch.prototype[i]),
            audit=self.audit[i],
            probability=1.0 if anomaly else rate,
        )


class EventLog:
    """`rate` of all rows is kept at random, whatever their score; `rows` and `days` bound the log."""

    def __init__(self, ledger: Ledger, rate: float, rows: int, days: float) -> None:
        self._ledger, self._rate, self._rows, self._days = ledger, rate, rows, days
        self._rng = np.random.default_rng()
        self._gap = self._next_gap()
        self._queue: collections.deque[_Kept] = collections.deque()
        self._waiting: dict[str, tuple[_Kept, int]] = {}
        self._seen: collections.deque[tuple[str, int, NDArray[np.float64]]] = collections.deque(maxlen=100_000)
        self._traffic: collections.Counter[tuple[str, int, int]] = collections.Counter()
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
        self._seen.append((batch.model, now_ms() // 3_600_000, batch.percentile))
        count = len(batch.score)
        drawn = self._draw(count)
        alerts = batch.anomaly.nonzero()[0].tolist()
        if not drawn and not alerts:
            return {}
        kept = sorted({*drawn, *alerts})
        room = QUEUE_ROWS - len(self._waiting)
        if len(kept) > room:
            self.dropped += len(kept) - max(room, 0)
            kept = kept[: max(room, 0)]
            if not kept:
                return {}
        random = set(drawn)
        cut = _Kept(
            _cut(batch, kept), [new_id() for _ in kept], [index in random for index in kept], now_ms()
        )
        for i, event_id in enumerate(cut.event_ids):
            self._waiting[event_id] = (cut, i)
        self._queue.append(cut)
        self.kept += len(kept)
        return dict(zip(kept, cut.event_ids, strict=True))

    def waiting(self, event_id: str) -> events.Event | None:
        """An event that has its id but is not in the ledger yet."""
        found = self._waiting.get(event_id)
        return found and found[0].event(found[1], self._rate)

    def newest_waiting(self, model: str, record_id: str) -> events.Event | None:
        for cut, i in reversed(list(self._waiting.values())):
            if cut.batch.model == model and cut.batch.ids is not None and str(cut.batch.ids[i]) == record_id:
                return cut.event(i, self._rate)
        return None

    @contextlib.contextmanager
    def forgetting(self, record_id: str) -> Iterator[None]:
        """Take the record's events out of the queue, and let none slip into the ledger meanwhile."""
        with self._writing:
            for cut in list(self._queue):
                for i, event_id in enumerate(cut.event_ids):
                    if cut.batch.ids is not None and str(cut.batch.ids[i]) == record_id:
                        self._waiting.pop(event_id, None)
            yield

    def flush(self) -> None:
        """Write everything that waits now. Raises LedgerUnavailable; nothing is lost by that."""
        with self._writing:
            group = list(self._queue)
            self._count_traffic()
            if not group and not self._traffic:
                return
            traffic = dict(self._traffic)
            rows = [
                cut.event(i, self._rate)
                for cut in group
                for i, event_id in enumerate(cut.event_ids)
                if event_id in self._waiting
            ]
            with self._ledger.write() as connection:
                events.append(connection, rows)
                policy.count(connection, traffic)
            self._traffic.clear()
            self._forget(group)

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
        by_hour: dict[tuple[str, int], list[NDArray[np.float64]]] = collections.defaultdict(list)
        for _ in range(len(self._seen)):
            model, hour, percentile = self._seen.popleft()
            by_hour[model, hour].append(percentile)
        for (model, hour), percentiles in by_hour.items():
            for bin_, rows in enumerate(budget.bins(np.concatenate(percentiles)).tolist()):
                if rows:
                    self._traffic[model, hour, bin_] += rows

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
            log.warning("event log: %s", error)
            return False
        except Exception:  # a group that can never be written must not stop those behind it
            log.exception("event log: a group was dropped")
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
            policy.forget_traffic(connection, now_ms() // 3_600_000 - TRAFFIC_DAYS * 24)


def _cut(batch: Scored, kept: list[int]) -> Scored:
    """Some rows of a batch, copied. Unknown categories and ids are by place, hence by row hereafter."""
    places = batch.encoded.places()
    rows = batch.encoded.rows
    sent = batch.encoded.unknown
    unknown = {i: sent[places[index]] for i, index in enumerate(kept) if places[index] in sent} if sent else {}
    return Scored(
        batch.model,
        batch.version,
        batch.encoder,
        Encoded(Rows(rows.numeric[kept], rows.codes[kept]), len(kept), unknown=unknown),
        batch.score[kept],
        batch.percentile[kept],
        batch.anomaly[kept],
        batch.prototype[kept],
        None if batch.ids is None else [batch.ids[places[index]] for index in kept],
    )

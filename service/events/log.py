"""The event log's writer: keeps every alert and a random slice of all traffic, never in a request's way.

`pick` and `keep` run in the event loop and only note; one thread writes, in groups. What the queue has no
room for is dropped and counted: a score never waits for the log.
"""

import collections
import contextlib
import itertools
import threading
import time
from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from msgspec import Struct

from nearnorm.models.digest import text_digest
from nearnorm.models.records import Value, records
from nearnorm.models.schema import FeatureSchema
from nearnorm.service.background import Background
from nearnorm.service.errors import LedgerUnavailable
from nearnorm.service.events.random_slice import AuditSlice
from nearnorm.service.events.review_delay import Pending
from nearnorm.service.ids import new_ids, now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables import candidates, erasure, events, idempotency, policy
from nearnorm.service.ledger.tables.events import Event
from nearnorm.service.logs import log
from nearnorm.service.records.encoder import Encoded, Encoder, Rows
from nearnorm.service.verdict import budget

WRITING = "writing the event log"
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
_encode = msgspec.json.Encoder().encode


class ScoredBatch(Struct):
    """A request's scored rows: one element a row of `encoded.rows`.

    `alert` is whether the score alone is above the threshold; `anomaly` the verdict, with what analysts said.
    `ids` are the callers', by place, if given.
    """

    model: str
    version: str
    encoder: Encoder
    encoded: Encoded
    score: Sequence[float]
    percentile: list[float]
    alert: Sequence[bool]
    anomaly: Sequence[bool]
    prototype: Sequence[int]
    ids: Sequence[str | int] | None


class Picked(NamedTuple):
    """Indices of rows that are to be kept, in order, those of the audit slice, and the chance of these."""

    rows: Sequence[int]
    drawn: Collection[int]
    probability: float


_NONE = Picked((), (), 0.0)


class _Kept(NamedTuple):
    """A kept row, cut out of its batch, so that a large batch does not stay in memory."""

    event_id: str
    at: int
    model: str
    version: str
    record_id: str | None
    score: float
    percentile: float
    anomaly: bool
    prototype: int
    audit: bool
    probability: float
    encoder: Encoder
    numeric: bytes
    codes: bytes
    unknown: dict[str, str] | None


class EventLog:
    """`rate` of all rows is kept at random, whatever their score; `rows` and `days` bound the log."""

    def __init__(self, ledger: Ledger, rate: float, rows: int, days: float) -> None:
        self._ledger, self._rows, self._days = ledger, rows, days
        self._slice = AuditSlice(rate)
        self._waiting: dict[str, _Kept] = {}
        self._pending = Pending()
        self._seen: collections.deque[tuple[str, list[float]]] = collections.deque(maxlen=100_000)
        self._traffic: collections.Counter[tuple[str, int, int]] = collections.Counter()
        self._traffic_at = -TRAFFIC_EVERY
        self._stop = threading.Event()
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None
        self.kept = 0
        self.dropped = 0

    def start(self, background: Background) -> None:
        self._thread = background.start_thread(WRITING, lambda: self._run(background))

    def stop(self, seconds: float = 5.0) -> None:
        """Write what waits and end the thread; what cannot be written in time is lost."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(seconds)

    def pick(self, model: str, percentile: list[float], alert: Sequence[bool]) -> Picked:
        """Count a request's rows, and say which are to be kept: alerts, and each with the same chance."""
        self._seen.append((model, percentile))
        drawn, probability = self._slice.draw(len(alert))
        if True in alert:
            rows = list(itertools.compress(range(len(alert)), alert))
            return Picked(sorted({*drawn, *rows}) if drawn else rows, frozenset(drawn), probability)
        return Picked(drawn, frozenset(drawn), probability) if drawn else _NONE

    def keep(self, batch: ScoredBatch, picked: Picked) -> dict[int, str]:
        """The event_id of every row that is kept, by its index. Never blocks, never raises for the ledger."""
        rows = picked.rows[: max(QUEUE_ROWS - len(self._waiting), 0)]
        self.dropped += len(picked.rows) - len(rows)
        self.kept += len(rows)
        event_ids = new_ids(len(rows))
        at = now_ms()
        numeric, codes = batch.encoded.rows.numeric, batch.encoded.rows.codes
        score, prototype = batch.score, batch.prototype
        places, unknown, ids = batch.encoded.places(), batch.encoded.unknown, batch.ids
        for i, event_id in zip(rows, event_ids, strict=True):
            self._waiting[event_id] = _Kept(
                event_id,
                at,
                batch.model,
                batch.version,
                None if ids is None else _id(ids[places[i]]),
                score[i],
                batch.percentile[i],
                batch.anomaly[i],
                prototype[i],
                i in picked.drawn,
                1.0 if batch.alert[i] else picked.probability,
                batch.encoder,
                numeric[i].tobytes(),
                codes[i].tobytes(),
                unknown.get(places[i]) if unknown else None,
            )
        return dict(zip(rows, event_ids, strict=True))

    @property
    def backlog(self) -> int:
        """Kept events that are not in the ledger yet, or not among its candidates."""
        return len(self._waiting) + self._pending.rows

    def waiting(self, event_id: str) -> Event | None:
        """An event that has its id but is not in the ledger yet."""
        found = self._waiting.get(event_id)
        return found and events.read(_rows([found])[0])

    def newest_waiting(self, model: str, record_id: str) -> Event | None:
        for kept in reversed(list(self._waiting.values())):
            if kept.record_id == record_id and kept.model == model:
                return events.read(_rows([kept])[0])
        return None

    @contextlib.contextmanager
    def forgetting(self, record_id: str) -> Iterator[None]:
        """Take the record's events out of the queue, and let none slip into the ledger meanwhile."""
        with self._writing:
            for kept in list(self._waiting.values()):
                if kept.record_id == record_id:
                    del self._waiting[kept.event_id]
            yield

    def flush(self) -> None:
        """Write everything that waits now. Raises LedgerUnavailable; nothing is lost by that."""
        with self._writing:
            group = list(self._waiting.values())
            self._count_traffic()
            traffic = self._due_traffic()
            pending = self._pending.joined([kept.event_id for kept in group])
            due = pending.due(len(group)) or (pending.rows > 0 and self._stop.is_set())
            if not group and not traffic and not due:
                return
            rows = _rows(group)
            with self._ledger.write() as connection:
                events.append(connection, rows)
                if due:
                    candidates.follow(connection, pending.first, pending.last)
                policy.count(connection, traffic)
            self._pending = Pending() if due else pending
            if traffic:
                self._traffic.clear()
                self._traffic_at = time.monotonic()
            self._forget(group)

    def _due_traffic(self) -> dict[tuple[str, int, int], int]:
        """Counts are written now and then, and when the log is stopped."""
        due = self._stop.is_set() or time.monotonic() - self._traffic_at > TRAFFIC_EVERY
        return dict(self._traffic) if due else {}

    def _forget(self, group: list[_Kept]) -> None:
        for kept in group:
            del self._waiting[kept.event_id]

    def _count_traffic(self) -> None:
        hour = now_ms() // _HOUR_MS
        seen: dict[str, array[float]] = collections.defaultdict(lambda: array("d"))
        for _ in range(len(self._seen)):
            model, percentile = self._seen.popleft()
            seen[model].fromlist(percentile)
        for model, percentiles in seen.items():
            for bin_, count in enumerate(budget.bins(np.frombuffer(percentiles)).tolist()):
                if count:
                    self._traffic[model, hour, bin_] += count

    def _run(self, background: Background) -> None:
        sweep_at = time.monotonic() + SWEEP_EVERY
        self._safely(self._take_up)
        while True:
            last = self._stop.wait(INTERVAL)
            if self._safely(self.flush):
                background.works(WRITING)
            elif not last:
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
            with self._writing:
                group = list(self._waiting.values())
                self.dropped += len(group)
                self._forget(group)
            log.error("a group of events was dropped", exc_info=error)  # last: it takes its time
            return False
        return True

    def _take_up(self) -> None:
        with self._ledger.write() as connection:
            candidates.take_up(connection)

    def sweep(self) -> None:
        """Delete what is older or more than the log may hold."""
        before = now_ms() - int(self._days * _DAY_MS)
        more = True
        while more and not self._stop.is_set():
            with self._ledger.write() as connection:
                more = events.prune(connection, before, self._rows) >= events.CHUNK
        with self._ledger.write() as connection:
            idempotency.prune(connection, now_ms() - REQUEST_DAYS * _DAY_MS)
            erasure.prune(connection, now_ms() - VERDICT_HOURS * _HOUR_MS)
            policy.forget_traffic(connection, now_ms() // _HOUR_MS - TRAFFIC_DAYS * 24)


def _rows(group: Sequence[_Kept]) -> list[events.Row]:
    """As the ledger takes them. All of an encoder are read at once: one by one takes far longer."""
    by_encoder: dict[Encoder, list[_Kept]] = collections.defaultdict(list)
    for kept in group:
        by_encoder[kept.encoder].append(kept)
    rows: list[events.Row] = []
    for encoder, same in by_encoder.items():
        texts = map(_encode, _records(encoder.schema, same))
        rows += [
            (*kept[:5], text_digest(text), text.decode(), *kept[5:11])
            for kept, text in zip(same, texts, strict=True)
        ]
    return rows


def _records(schema: FeatureSchema, group: Sequence[_Kept]) -> list[dict[str, Value]]:
    count = len(group)
    numeric = np.frombuffer(b"".join([kept.numeric for kept in group]), np.float64)
    codes = np.frombuffer(b"".join([kept.codes for kept in group]), np.int64)
    rows = Rows(numeric.reshape(count, len(schema.numeric)), codes.reshape(count, len(schema.categorical)))
    return records(
        schema, rows.numeric, rows.codes, {i: kept.unknown for i, kept in enumerate(group) if kept.unknown}
    )


def _id(given: str | int) -> str:
    return str(given).replace("\0", "\N{REPLACEMENT CHARACTER}")  # PostgreSQL stores no NUL

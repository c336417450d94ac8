"""The event log's writer: keeps every alert and a random slice of all traffic, never in a request's way.

`pick` and `keep` run in the event loop and only note; one thread writes, in groups. What there is no room
for is dropped and counted: a score never waits for the log. A group that the ledger does not take is divided
until the row at fault is found: it is dropped alone. While the ledger is out of reach, all of them wait.
"""

import contextlib
import itertools
import math
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Literal, NamedTuple, TypeVar, get_args

import sqlalchemy as sa
from msgspec import Struct

from nearnorm.service.background import Background
from nearnorm.service.errors import LedgerUnavailable
from nearnorm.service.events.audit_slice import AuditSlice
from nearnorm.service.events.kept import MOST_TEXT, OVERHEAD, Kept, as_rows, text_of
from nearnorm.service.events.review_delay import Pending
from nearnorm.service.events.traffic_counter import TrafficCounter
from nearnorm.service.events.waiting import WaitingEvents
from nearnorm.service.ids import new_ids, now_ms
from nearnorm.service.ledger.database import PATIENCE, Ledger
from nearnorm.service.ledger.faults import first_line, is_outage
from nearnorm.service.ledger.seen_lines import SeenLines
from nearnorm.service.ledger.tables import aggregate_keys, idempotency, sessions
from nearnorm.service.ledger.tables.events import candidates, events, retention, traffic
from nearnorm.service.ledger.tables.events.events import Event
from nearnorm.service.ledger.tables.events.retention import Amount
from nearnorm.service.ledger.tables.events.traffic import Counted
from nearnorm.service.ledger.tables.feedback import claims, erasure, skips, snoozes
from nearnorm.service.ledger.tables.webhooks import alerts
from nearnorm.service.logs import log
from nearnorm.service.records.encoded import Encoded
from nearnorm.service.records.encoder import Encoder

WRITING = "writing the event log"
INTERVAL, MOST_PAUSE = 0.2, 2.0  # seconds between groups, and in a flood: what a killed process can lose
QUEUE_ROWS = 20_000
QUEUE_BYTES = 64 * 2**20
APART_ROWS = 500  # of a group that has to be divided, in one transaction
PAUSE = 1.0  # seconds before a group is tried again
LOOKS = 5  # at ledger and log together, in a flood
TRAFFIC_EVERY = 2.0
SWEEP_EVERY = 60.0
TRAFFIC_DAYS = 57
REQUEST_DAYS = 7
VERDICT_HOURS = 1
_HOUR_MS = 3600 * 1000
_DAY_MS = 24 * _HOUR_MS

T = TypeVar("T")


class ScoredBatch(Struct):
    """A request's scored rows: one element a row of `encoded.rows`.

    `alert` is whether the score alone is above the threshold; `anomaly` the verdict, with what analysts said.
    `caller` is the name of the API key. `source` tells the message that a row came by, by its place.
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
    caller: str
    source: Callable[[int], str] | None = None


class Picked(NamedTuple):
    """Indices of rows that are to be kept, in order, those of the audit slice, and the chance of these."""

    rows: Sequence[int]
    drawn: Collection[int]
    probability: float


_NONE = Picked((), (), 0.0)


Reason = Literal["full", "text", "refused", "stopped"]
"""Why an event was dropped: no room to wait, too much text of its caller's, the ledger does not take it, or
the process was stopped while the ledger was out of reach."""


class EventLog:
    """`rate` of all rows is kept at random, whatever their score; `bounds` and `days` bound the log."""

    def __init__(self, ledger: Ledger, rate: float, bounds: Amount, days: float) -> None:
        self._ledger, self._days = ledger, days
        self.bounds = bounds
        self._slice = AuditSlice(rate)
        self._waiting = WaitingEvents(QUEUE_ROWS, QUEUE_BYTES)
        self._pending = Pending()
        self.traffic = TrafficCounter()
        self._traffic_at = -TRAFFIC_EVERY
        self._new = Amount()
        self._stop = threading.Event()
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._give_up_at = math.inf
        self.kept = 0
        self.drops: dict[Reason, int] = dict.fromkeys(get_args(Reason), 0)
        self.evicted = {"alert": 0, "other": 0}
        self.held = Amount()

    @property
    def dropped(self) -> int:
        return sum(self.drops.values())

    def start(self, background: Background) -> None:
        self._thread = background.start_thread(WRITING, lambda: self._run(background))

    def stop(self, seconds: float = 5.0) -> None:
        """Write what waits and end the thread; for so long a ledger that is out of reach is tried again.

        What cannot be written is dropped, counted and told.
        """
        self._give_up_at = time.monotonic() + seconds
        self._stop.set()
        if self._thread is not None:
            self._thread.join(seconds + 3 * PATIENCE)
        lost = self._waiting.snapshot()
        if lost:
            self._waiting.take_out(lost)
            self.drops["stopped"] += len(lost)
            log.error("events were lost, as the ledger was out of reach at the end", rows=len(lost))

    def pick(self, alert: Sequence[bool]) -> Picked:
        """Which rows of a request are to be kept: alerts, and each with the same chance."""
        drawn, probability = self._slice.draw(len(alert))
        if True in alert:
            rows = list(itertools.compress(range(len(alert)), alert))
            return Picked(sorted({*drawn, *rows}) if drawn else rows, frozenset(drawn), probability)
        return Picked(drawn, frozenset(drawn), probability) if drawn else _NONE

    def keep(self, batch: ScoredBatch, picked: Picked) -> dict[int, str]:
        """The event_id of every row that is kept, by its index. Never blocks, never raises for the ledger."""
        caller = batch.caller
        rows = picked.rows[: self._waiting.room(caller, len(picked.rows))]
        self.drops["full"] += len(picked.rows) - len(rows)
        at = now_ms()
        numeric, codes = batch.encoded.rows.numeric, batch.encoded.rows.codes
        score, prototype = batch.score, batch.prototype
        places, unknown, ids = batch.encoded.places(), batch.encoded.unknown, batch.encoded.ids
        columns = batch.encoded.beside
        size = OVERHEAD + 8 * (numeric.shape[1] + codes.shape[1])
        found: dict[int, str] = {}
        new: list[Kept] = []
        for i, event_id in zip(rows, new_ids(len(rows)), strict=True):
            record_id = _id(None if ids is None else ids[places[i]])
            categories = unknown.get(places[i]) if unknown else None
            text = text_of(record_id, categories)
            if text > MOST_TEXT:
                self.drops["text"] += 1
                continue
            found[i] = event_id
            beside = None if columns is None else columns.of(places[i])
            kept = Kept(
                event_id,
                at,
                batch.model,
                batch.version,
                record_id,
                score[i],
                batch.percentile[i],
                batch.anomaly[i],
                prototype[i],
                i in picked.drawn,
                1.0 if batch.alert[i] else picked.probability,
                caller,
                size + text + (0 if beside is None else len(beside)),
                batch.encoder,
                numeric[i].tobytes(),
                codes[i].tobytes(),
                categories,
                beside,
                None if batch.source is None else batch.source(places[i]),
            )
            new.append(kept)
        self.kept += len(new)
        pushed_out = self._waiting.put(caller, new)
        if pushed_out:
            self.drops["full"] += len(pushed_out)
            gone = set(pushed_out)
            found = {i: event_id for i, event_id in found.items() if event_id not in gone}
        return found

    @property
    def unwritten(self) -> int:
        """Kept events that are not in the ledger yet."""
        return len(self._waiting)

    @property
    def backlog(self) -> int:
        """Kept events that are not in the ledger yet, or not among its candidates."""
        return len(self._waiting) + self._pending.rows

    async def seen(self, look: Callable[[sa.Connection], T]) -> T:
        """`look` in a read transaction of the ledger, at what waits too: each kept event is there or here.

        An event that is written after the transaction began and taken out before the look at what waits would
        be in neither; so it looks again where one was.
        """
        for _ in range(LOOKS):
            before = self._waiting.departures
            found = await self._ledger.seen(look)
            if self._waiting.departures == before:
                break
        return found

    def waiting(self, event_id: str) -> Event | None:
        """An event that has its id but is not in the ledger yet."""
        found = self._waiting.find(event_id)
        return found and events.read(as_rows([found])[0])

    def waiting_source(self, model: str, source: str) -> Event | None:
        """The same by the message that it came by."""
        found = self._waiting.find_source(model, source)
        return found and events.read(as_rows([found])[0])

    def waiting_of(self, model: str, record_id: str) -> list[Event]:
        """The events with a caller's own id that are not in the ledger yet."""
        waiting = self._waiting.snapshot()
        found = [kept for kept in waiting if kept.record_id == record_id and kept.model == model]
        return [events.read(row) for row in as_rows(found)]

    @contextlib.contextmanager
    def forgetting(self, record_id: str, lines: SeenLines) -> Iterator[None]:
        """Take the record's events of these lines out of the queue; none slips into the ledger meanwhile."""
        with self._writing:
            self._waiting.forget(record_id, lines)
            yield

    def flush(self) -> None:
        """Write everything that waits now. Raises LedgerUnavailable; nothing is lost by that."""
        with self._writing:
            group = self._waiting.snapshot()
            self.traffic.count()
            try:
                self._write(group)
            except LedgerUnavailable:
                raise
            except Exception:
                for start in range(0, len(group), APART_ROWS):
                    self._write_apart(group[start : start + APART_ROWS])
                if not group:
                    raise

    def _write(self, group: list[Kept]) -> None:
        """The group, what becomes a candidate and the counts of traffic, in one transaction."""
        counted = self._due_traffic()
        pending = self._pending.joined([kept.event_id for kept in group])
        due = pending.due(len(group)) or (pending.rows > 0 and self._stop.is_set())
        if not group and not counted and not due:
            return
        rows = as_rows(group)
        with self._ledger.write() as connection:
            alerts.announce(connection, rows)
            events.append(connection, rows)
            if due:
                candidates.follow(connection, pending.first, pending.last)
            traffic.put(connection, self.traffic.writer, counted)
        self._pending = Pending() if due else pending
        if counted:
            self.traffic.written()
            self._traffic_at = time.monotonic()
        self._written(group, rows)

    def _write_apart(self, group: list[Kept]) -> None:
        """The group without the rows that the ledger does not take, which are dropped."""
        good: list[Kept] = []
        refused: list[tuple[Kept, Exception]] = []
        with self._ledger.write() as connection:
            _divide(connection, group, good, refused)
        self._pending = self._pending.joined([kept.event_id for kept in good])
        self._written(good, as_rows(good))
        self._waiting.take_out([kept for kept, _ in refused])
        self.drops["refused"] += len(refused)
        if refused:
            kept, error = refused[0]
            log.error(
                "events were dropped, as the ledger does not take them",
                rows=len(refused),
                caller=kept.caller,
                problem=first_line(error),
            )

    def _written(self, group: list[Kept], rows: Sequence[events.Row]) -> None:
        pushed_out = self._waiting.take_out(group)
        self.drops["full"] -= pushed_out  # they were being written already
        self._new = self._new.plus(Amount(len(rows), sum(row[events.SIZE] for row in rows)))

    def _due_traffic(self) -> list[Counted]:
        """Counts are written now and then, and when the log is stopped."""
        due = self._stop.is_set() or time.monotonic() - self._traffic_at > TRAFFIC_EVERY
        return self.traffic.changed() if due else []

    def _run(self, background: Background) -> None:
        sweep_at = time.monotonic() + SWEEP_EVERY
        self._safely(self._take_up, background)
        pause = INTERVAL
        while not self._stop.wait(pause):
            began = time.thread_time()
            written = self._safely(self.flush, background)
            pause = pause_after(time.thread_time() - began)
            if written:
                background.works(WRITING)
            else:
                self._stop.wait(PAUSE)
            if time.monotonic() > sweep_at or self._grown():
                self._safely(self.sweep, background)
                sweep_at = time.monotonic() + SWEEP_EVERY
        while not self._safely(self.flush, background) and time.monotonic() < self._give_up_at:
            time.sleep(INTERVAL)

    def _safely(self, work: Callable[[], None], background: Background) -> bool:
        try:
            work()
        except LedgerUnavailable as error:
            log.warning("events wait for the ledger", problem=str(error), waiting=len(self._waiting))
            background.waits(WRITING, error.detail)
            return False
        except Exception as error:
            background.failed(WRITING, error)
            return False
        return True

    def _take_up(self) -> None:
        with self._ledger.write() as connection:
            candidates.take_up(connection)

    def _grown(self) -> bool:
        """Whether so much is new since the last sweep that the bounds may be left behind."""
        most = Amount(max(self.bounds.rows // 20, retention.CHUNK), self.bounds.bytes // 20)
        return not self._new.within(most)

    def sweep(self) -> None:
        """Delete what is older or more than the log may hold."""
        self._new = Amount()
        before = now_ms() - int(self._days * _DAY_MS)
        more = True
        while more and not self._stop.is_set():
            with self._ledger.write() as connection:
                more = retention.prune_aged(connection, before) >= retention.CHUNK
        while not self._stop.is_set() and (doomed := self._surplus()):
            with self._ledger.write() as connection:
                retention.delete(connection, doomed)
            self.evicted["alert"] += sum(map(len, doomed.alerts.values()))
            self.evicted["other"] += sum(map(len, doomed.rest.values()))
        with self._ledger.write() as connection:
            idempotency.prune(connection, now_ms() - REQUEST_DAYS * _DAY_MS)
            erasure.prune(connection, now_ms() - VERDICT_HOURS * _HOUR_MS)
            traffic.forget(connection, now_ms() // _HOUR_MS - TRAFFIC_DAYS * 24)
        with self._ledger.write() as connection:
            claims.prune(connection, now_ms())
            sessions.prune(connection, now_ms())
            skips.prune(connection, before)
            snoozes.prune(connection, now_ms())
            aggregate_keys.prune(connection, now_ms())

    def _surplus(self) -> retention.Surplus | None:
        with self._ledger.read() as connection:
            held = retention.usage(connection)
            self.held = Amount()
            for use in held.values():
                self.held = self.held.plus(use.all)
            if self.held.within(self.bounds):
                return None
            return retention.surplus(connection, held, self.bounds)


def pause_after(cpu_seconds: float) -> float:
    """Seconds to the next group, after one that took so much CPU: a flood of alerts gets a third of one."""
    return min(max(INTERVAL, 2.0 * cpu_seconds), MOST_PAUSE)


def _divide(
    connection: sa.Connection, group: list[Kept], good: list[Kept], refused: list[tuple[Kept, Exception]]
) -> None:
    """Insert what can be, half by half: each within a savepoint, which leaves nothing of one that fails."""
    try:
        rows = as_rows(group)
        with connection.begin_nested():
            alerts.announce(connection, rows)
            events.append(connection, rows)
        good += group
    except Exception as error:
        if is_outage(error):
            raise
        if len(group) == 1:
            refused.append((group[0], error))
            return
        middle = len(group) // 2
        for half in (group[:middle], group[middle:]):
            _divide(connection, half, good, refused)


def _id(given: str | int | None) -> str | None:
    """As text; PostgreSQL stores no NUL."""
    return None if given is None else str(given).replace("\0", "\N{REPLACEMENT CHARACTER}")

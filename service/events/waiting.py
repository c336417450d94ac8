"""Kept rows that wait for the ledger: bounded in rows and bytes, with a fair share for every caller.

A lone caller may fill all of it. Where it is full, a caller with less than an even part pushes out the
newest rows of whoever has most.
"""

import threading
from collections.abc import Sequence

from nearnorm.service.events.kept import Kept
from nearnorm.service.fair_shares import fair_shares
from nearnorm.service.ledger.seen_lines import SeenLines

_AT_ONCE = 500  # rows taken out before the event loop gets its turn


class _Held:
    """One caller's rows by event_id, oldest first, and their bytes."""

    def __init__(self) -> None:
        self.rows: dict[str, Kept] = {}
        self.bytes = 0


class WaitingEvents:
    """The event loop puts in, the log's thread takes out."""

    def __init__(self, most_rows: int, most_bytes: int) -> None:
        self._most_rows, self._most_bytes = most_rows, most_bytes
        self._held: dict[str, _Held] = {}
        self._lock = threading.Lock()
        self._rows = 0
        self._bytes = 0
        self.departures = 0
        """Moments at which some were about to be taken out: whoever saw none between looks missed nobody."""

    def __len__(self) -> int:
        return self._rows

    def room(self, caller: str, rows: int) -> int:
        """How many of so many new rows a caller may put in."""
        if self._rows + rows <= self._most_rows:
            return rows
        with self._lock:
            has = {name: len(held.rows) for name, held in self._held.items()}
        own = has.get(caller, 0)
        return max(fair_shares({**has, caller: own + rows}, self._most_rows)[caller] - own, 0)

    def put(self, caller: str, new: Sequence[Kept]) -> list[str]:
        """Take rows in; the event ids of those that had to go for it, of this caller or of others."""
        pushed_out: list[str] = []
        with self._lock:
            held = self._held.setdefault(caller, _Held())
            for kept in new:
                held.rows[kept.event_id] = kept
            size = sum([kept.size for kept in new])
            held.bytes += size
            self._rows += len(new)
            self._bytes += size
            while self._rows > self._most_rows or self._bytes > self._most_bytes:
                pushed_out.append(self._push_out())
        return pushed_out

    def snapshot(self) -> list[Kept]:
        """All that waits now, oldest first within a caller."""
        with self._lock:
            return [kept for held in self._held.values() for kept in held.rows.values()]

    def find(self, event_id: str) -> Kept | None:
        with self._lock:
            found = (held.rows.get(event_id) for held in self._held.values())
            return next((kept for kept in found if kept is not None), None)

    def find_source(self, model: str, source: str) -> Kept | None:
        """By the message that it came by."""
        of_model = (kept for kept in self.snapshot() if kept.model == model)
        return next((kept for kept in of_model if kept.source == source), None)

    def take_out(self, group: Sequence[Kept]) -> int:
        """Forget what is done with. How many of them were pushed out before."""
        gone = 0
        self.departures += len(group) > 0
        for start in range(0, len(group), _AT_ONCE):
            with self._lock:
                gone += sum(not self._remove(kept) for kept in group[start : start + _AT_ONCE])
        return gone

    def forget(self, record_id: str, lines: SeenLines) -> None:
        """Forget the rows of a caller's record, of these lines."""
        found = (kept for kept in self.snapshot() if kept.record_id == record_id)
        self.take_out([kept for kept in found if lines.sees(kept.model)])

    def _push_out(self) -> str:
        largest = max(self._held.values(), key=self._load)
        event_id = next(reversed(largest.rows))
        self._remove(largest.rows[event_id])
        return event_id

    def _load(self, held: _Held) -> float:
        return max(len(held.rows) / self._most_rows, held.bytes / self._most_bytes)

    def _remove(self, kept: Kept) -> bool:
        held = self._held.get(kept.caller)
        if held is None or held.rows.pop(kept.event_id, None) is None:
            return False
        held.bytes -= kept.size
        self._rows -= 1
        self._bytes -= kept.size
        if not held.rows:
            del self._held[kept.caller]
        return True

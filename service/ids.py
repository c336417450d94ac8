"""Identifiers that sort by time: 48 bits of milliseconds, 80 of chance, 26 letters (as a ULID)."""

import secrets
import threading
import time
from datetime import UTC, datetime

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O, U
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
_lock = threading.Lock()
_last = 0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """A new identifier, greater than every earlier one of this process."""
    return new_ids(1)[0]


def new_ids(count: int) -> list[str]:
    """So many, in order: far sooner than one by one."""
    global _last
    now = now_ms()
    with _lock:
        # One bit of chance is left out, so that counting on within a millisecond never overflows.
        first = now << 80 | secrets.randbits(79) if now > _last >> 80 else _last + 1
        _last = first + count - 1
    head, tail = first >> 20, first & 0xFFFFF
    if tail + count > 1 << 20:
        return [_spelled(first + i) for i in range(count)]
    start = _spelled(head << 20)[:-4]
    return [start + _PAIRS[i >> 10] + _PAIRS[i & 1023] for i in range(tail, tail + count)]


def first_id_at(ms: int) -> str:
    """The smallest identifier of a millisecond: everything older sorts before it."""
    return _spelled(ms << 80)


def _spelled(value: int) -> str:
    return "".join([_PAIRS[value >> shift & 1023] for shift in range(120, -10, -10)])


def iso(ms: int) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

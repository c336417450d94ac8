"""The newest events of one key, and the numbers that they come to before a time.

Nothing here depends on the order that events came in: they lie by time and id, sums are exact whatever the
order (math.fsum), and a record sees only what is older than it by more than events may be late.
"""

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct

from nearnorm.models.aggregates.declaration import SECOND, Function, KeyColumn

MOST_EVENTS = 1_000
"""Events of a key that one number is made of: the newest."""
SPARE = 16
"""Newest events whose times are not believed when old ones are let go: a clock may be wrong."""
MISSING_NAME = 0
Row = list[float | None]
"""A record's numbers in the order they are declared; None: its key is missing, or none was the last."""


class KeyedEvent(Struct, frozen=True):
    """`time` in microseconds since 1970; names as digests: `id`, `keys` by column of keys (None: missing),
    `names` by column of distinct values (MISSING_NAME: missing). `amounts` by column of sums (missing: 0)."""

    time: int
    id: int
    keys: tuple[int | None, ...]
    amounts: dict[str, float]
    names: dict[str, int]


class _Stored(Struct, array_like=True):
    times: bytes
    ids: bytes
    amounts: dict[str, bytes]
    names: dict[str, bytes]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Stored).decode


def without(stored: bytes, id_: int) -> bytes | None:
    """What was stored, without the events of an id; None where there are none."""
    found = _decode(stored)
    ids = array("Q", found.ids)
    left = [at for at, other in enumerate(ids) if other != id_]
    if len(left) == len(ids):
        return None

    def of(column: bytes) -> bytes:  # eight bytes an event, whatever they hold
        return b"".join(column[8 * at : 8 * at + 8] for at in left)

    return _encode(
        _Stored(
            of(found.times),
            of(found.ids),
            {name: of(column) for name, column in found.amounts.items()},
            {name: of(column) for name, column in found.names.items()},
        )
    )


class KeyEvents:
    """At most two times MOST_EVENTS, in the order of their times and ids."""

    def __init__(self, of: KeyColumn, stored: bytes | None = None) -> None:
        """`stored`: as `dump` gave them. A column that was not kept then is missing in what was kept."""
        self._of = of
        found = _decode(stored) if stored is not None else _Stored(b"", b"", {}, {})
        self._times, self._ids = array("q", found.times), array("Q", found.ids)
        none = bytes(len(found.times))  # eight bytes an event in every column
        self._amounts = {name: array("d", found.amounts.get(name, none)) for name in of.sums}
        self._names = {name: array("Q", found.names.get(name, none)) for name in of.distincts}

    def __len__(self) -> int:
        return len(self._times)

    def dump(self) -> bytes:
        return _encode(
            _Stored(
                self._times.tobytes(),
                self._ids.tobytes(),
                {name: column.tobytes() for name, column in self._amounts.items()},
                {name: column.tobytes() for name, column in self._names.items()},
            )
        )

    def read(self, time: int, row: Row) -> None:
        """Put the key's numbers of a record of that time into their places of its row."""
        end = time - self._of.late
        stop = bisect_left(self._times, end)
        for number in self._of.numbers:
            start = max(bisect_left(self._times, end - number.window), stop - MOST_EVENTS)
            if number.function is Function.COUNT:
                row[number.place] = stop - start
            elif number.function is Function.SUM:
                row[number.place] = math.fsum(self._amounts[number.of][start:stop])
            elif number.function is Function.DISTINCT:
                row[number.place] = len({*self._names[number.of][start:stop]} - {MISSING_NAME})
            elif start < stop:
                row[number.place] = (time - self._times[stop - 1]) / SECOND

    def count(self, event: KeyedEvent) -> bool:
        """Keep an event; False where it is kept already."""
        at, times, ids = bisect_left(self._times, event.time), self._times, self._ids
        while at < len(times) and times[at] == event.time and ids[at] < event.id:
            at += 1
        if at < len(times) and times[at] == event.time and ids[at] == event.id:
            return False
        times.insert(at, event.time)
        ids.insert(at, event.id)
        for name, amounts in self._amounts.items():
            amounts.insert(at, event.amounts[name])
        for name, names in self._names.items():
            names.insert(at, event.names[name])
        self._let_go()
        return True

    def events(self) -> Iterator[KeyedEvent]:
        """What is kept, as it came but for keys."""
        for at, (time, id_) in enumerate(zip(self._times, self._ids, strict=True)):
            amounts = {name: column[at] for name, column in self._amounts.items()}
            names = {name: column[at] for name, column in self._names.items()}
            yield KeyedEvent(time, id_, (), amounts, names)

    def is_late(self, time: int) -> bool:
        """Whether a record of that time comes after one that it should have come before."""
        return bool(self._times) and time < self._times[-1] - self._of.late

    def _let_go(self) -> None:
        """Of what no record will see that comes in time."""
        times = self._times
        if len(times) <= SPARE:
            return
        settled = times[-1 - SPARE] - 2 * self._of.late
        first = max(
            bisect_left(times, settled) - MOST_EVENTS,
            bisect_left(times, settled - self._of.window),
            len(times) - 2 * MOST_EVENTS,
        )
        if first > 0:
            for column in self._columns():
                del column[:first]

    def _columns(self) -> Sequence["array[int] | array[float]"]:
        return [self._times, self._ids, *self._amounts.values(), *self._names.values()]

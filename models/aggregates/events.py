"""A record -> the event that is counted: its time, and digests of the names in it."""

import hashlib
from collections.abc import Callable, Mapping
from typing import TypeVar

from nearnorm.models.aggregates.declaration import SECOND, Aggregates
from nearnorm.models.aggregates.key_events import MISSING_NAME, KeyedEvent
from nearnorm.models.data.values import category, composed

T = TypeVar("T")

LARGEST_AMOUNT = 1e300
"""Of more than this a thousand have no sum."""
NOT_SUMMED = f"a number up to {LARGEST_AMOUNT:g} was expected, as it is summed"
NO_VALUE = "the value is missing, and must be given: without it the record cannot be counted"


class Uncountable(ValueError):
    """The field, and what is wrong with it."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}")
        self.field, self.detail = field, detail


def event_of(record: Mapping[str, object], aggregates: Aggregates) -> KeyedEvent:
    """Raises Uncountable."""
    time, *summed = aggregates.measured.numeric
    seconds = _read(record, time.name, time.coerce)
    if seconds is None:
        raise Uncountable(time.name, NO_VALUE)
    id_ = _read(record, aggregates.id, name_digest)
    if id_ is None:
        raise Uncountable(aggregates.id, NO_VALUE)
    return KeyedEvent(
        microseconds(float(seconds)),
        int(id_),
        tuple(_read(record, key.name, name_digest) for key in aggregates.keys),
        {one.name: amount(_read(record, one.name, one.coerce), one.name) for one in summed},
        {name: _read(record, name, name_digest) or MISSING_NAME for name in aggregates.distincts},
    )


def name_digest(value: object) -> int | None:
    """64 bits of a name: 5411, 5411.0 and "5411" are one. None for a missing one, and for blank text.

    Raises ValueError for a value that is no name.
    """
    text = category(value)
    if text is None or not (text := text.strip()):
        return None
    found = hashlib.blake2b(composed(text).encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(found, "little") or 1


def microseconds(seconds: float) -> int:
    return round(seconds * SECOND)


def amount(value: float | str | None, field: str) -> float:
    """What is summed; a missing one adds nothing. Raises Uncountable."""
    found = float(value or 0.0)
    if abs(found) > LARGEST_AMOUNT:
        raise Uncountable(field, NOT_SUMMED)
    return found


def _read(record: Mapping[str, object], field: str, read: Callable[[object], T]) -> T:
    try:
        return read(record.get(field))
    except ValueError as error:
        raise Uncountable(field, str(error)) from None

"""Which event a caller's own id means: its newest, unless several records or callers had it within a day."""

from collections.abc import Sequence

from msgspec import Struct

from nearnorm.models.data import values
from nearnorm.service.ids import iso
from nearnorm.service.ledger.tables.events.events import Event

NEAR_MS = 24 * 3600 * 1000
MOST_CHOICES = 20


class NamedEvent(Struct, omit_defaults=True):
    """An event as a receipt and a choice name it. `digest`: what equal records of one version share;
    `caller`: the API key that had it scored, where that was noted."""

    event_id: str
    at: str
    digest: str
    score: float
    caller: str | None = None

    @classmethod
    def of(cls, event: Event) -> "NamedEvent":
        return cls(event.event_id, iso(event.at), event.digest, event.score, event.caller)


def others(newest: Event, events: Sequence[Event]) -> list[Event]:
    """Those of the events of one id that are of another record or caller than the newest, and near it."""
    near = [event for event in events if event.at > newest.at - NEAR_MS]
    return [e for e in near if not (_same_caller(e, newest) and _same_record(e, newest))]


def choices(events: Sequence[Event]) -> list[NamedEvent]:
    """The newest event of each record and caller, newest first."""
    found = {(event.digest, event.caller): event for event in sorted(events, key=by_id)}
    return [NamedEvent.of(event) for event in sorted(found.values(), key=by_id, reverse=True)[:MOST_CHOICES]]


def by_id(event: Event) -> str:
    """Ids sort by time."""
    return event.event_id


def _same_caller(one: Event, other: Event) -> bool:
    """What was kept before callers were noted tells nothing."""
    return one.caller == other.caller or None in (one.caller, other.caller)


def _same_record(one: Event, other: Event) -> bool:
    """Whether the values are the same, as far as two versions with other columns both read them."""
    if one.digest == other.digest:
        return True
    if one.model_version == other.model_version:
        return False
    both = one.record.keys() & other.record.keys()
    spelt = [
        (values.category(one.record[name]), values.category(other.record[name])) for name in sorted(both)
    ]
    return all(a == b for a, b in spelt) and any(a is not None for a, _ in spelt)

"""One event as whoever reviews it sees it: what it is, its record's past, and what others said of it.

Blind: what others said of a record is shown to an analyst who has said something of it, so that a second
opinion is one.
"""

from collections.abc import Collection, Sequence
from typing import Literal

import sqlalchemy as sa
from msgspec import Struct

from nearnorm.service.errors import NotFound
from nearnorm.service.events.log import EventLog
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.label_history import Label, LabelHistory, Verdict
from nearnorm.service.ledger.seen_lines import SeenLines
from nearnorm.service.ledger.tables.events import events
from nearnorm.service.ledger.tables.events.events import Event
from nearnorm.service.ledger.tables.feedback import labels, reference_rows, second_opinions, skips, snoozes
from nearnorm.service.ledger.tables.feedback.claims import Holder
from nearnorm.service.ledger.tables.feedback.skips import Skip
from nearnorm.service.ledger.tables.feedback.snoozes import Snooze

Source = Literal["event", "reference", "second_opinion"]
"""A kept event, a row of a model's reference, or a record whose label waits for a second opinion."""

NAMES_MESSAGE = ":"
"""Names of messages (topic:partition:offset) have it, ids of ours do not."""
MOST = 20
"""Of earlier events, of labels, and of skips: the newest."""


class FoundEvent(Struct, frozen=True):
    event: Event
    source: Source


class Earlier(Struct, frozen=True):
    """Another event of the same record id; `verdict` None: nobody judged it, or it is not to be told."""

    event: Event
    verdict: Verdict | None


class SaidLabel(Struct, frozen=True):
    """What somebody said. `stands`: it counts now."""

    label: Label
    stands: bool


class RecordContext(Struct, frozen=True):
    """`own` are the analyst's words, `others` those of others, newest first, and `verdict` what all of them
    add up to; both None: he has said nothing yet."""

    history: list[Earlier]
    own: list[SaidLabel]
    others: list[SaidLabel] | None
    verdict: Verdict | None
    skips: list[Skip]
    skipped: int
    snooze: Snooze | None


def find(
    connection: sa.Connection, log: EventLog, model: str, event_id: str, versions: Collection[str] | None
) -> FoundEvent | None:
    """What an event id stands for, or the name that a streamed answer has; `model` is whose event or label it
    may be, and whose reference row, if it is of one of these versions (None: of any)."""
    if "\0" in event_id:  # which no id has, and PostgreSQL does not take
        return None
    event = log.waiting(event_id) or events.find(connection, event_id)
    if event is None and NAMES_MESSAGE in event_id:
        event = log.waiting_source(model, event_id) or events.find_source(connection, model, event_id)
    if event:
        return FoundEvent(event, "event")
    row = reference_rows.find(connection, model, event_id)
    if row is not None and (versions is None or row.model_version in versions):
        return FoundEvent(row, "reference")
    if event := second_opinions.find(connection, model, event_id):
        return FoundEvent(event, "second_opinion")
    return None


def need(
    connection: sa.Connection,
    log: EventLog,
    model: str,
    event_id: str,
    versions: Collection[str],
    lines: SeenLines,
) -> FoundEvent:
    """Raises NotFound, also for an event of another model, which is named where it is seen."""
    found = find(connection, log, model, event_id, versions)
    if found is None or not lines.sees(found.event.model):
        raise NotFound(f"no event {event_id[:60]!r} is kept", field="event_id")
    if found.event.model != model:
        raise NotFound(f"the event is of model {found.event.model!r}: name it as `model`", field="model")
    return found


def read(connection: sa.Connection, log: EventLog, event: Event, holder: Holder) -> RecordContext:
    """What the ledger knows of an event's record, for one analyst."""
    said = labels.newest_about(connection, event.model, event.digest, 2 * MOST)
    histories = labels.about(connection, event.model, [event.digest])
    history = histories.get(event.digest)
    own = [label for label in said if _is_of(label, holder)]
    others = [label for label in said if not _is_of(label, holder)]
    spoke = history is not None and any(
        (one.actor, one.analyst) == (holder.actor, holder.analyst) for one in history.statements
    )
    earlier = _earlier(connection, log, event)
    verdicts = labels.about(connection, event.model, {one.digest for one in earlier} - {event.digest})
    if spoke:
        verdicts = {**verdicts, **histories}
    return RecordContext(
        [Earlier(one, _verdict(verdicts.get(one.digest))) for one in earlier],
        _opinions(own, history),
        _opinions(others, history) if spoke else None,
        _verdict(history) if spoke else None,
        skips.about(connection, event.model, event.digest, MOST),
        skips.counts(connection, event.model, [event.digest]).get(event.digest, 0),
        snoozes.of_record(connection, event.model, event.digest, now_ms()),
    )


def _is_of(label: Label, holder: Holder) -> bool:
    return (label.actor, label.analyst) == (holder.actor, holder.analyst)


def _opinions(said: Sequence[Label], history: LabelHistory | None) -> list[SaidLabel]:
    """Without retractions, and what they took back."""
    return [
        SaidLabel(label, history.stands(label))
        for label in said[:MOST]
        if history is not None and label.label != "retract" and not history.took_back(label.feedback_id)
    ]


def _verdict(history: LabelHistory | None) -> Verdict | None:
    return None if history is None or history.verdict == "none" else history.verdict


def _earlier(connection: sa.Connection, log: EventLog, event: Event) -> list[Event]:
    """Other events of the same record id, newest first."""
    if event.record_id is None:
        return []
    found = events.newest_of_record(connection, event.model, event.record_id, MOST + 1)
    known = {one.event_id: one for one in [*found, *log.waiting_of(event.model, event.record_id)]}
    known.pop(event.event_id, None)
    return [known[event_id] for event_id in sorted(known, reverse=True)[:MOST]]

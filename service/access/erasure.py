"""Erasure: features are personal data. What a person asks to be forgotten goes from events and labels."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import sqlalchemy as sa
from msgspec import Struct

from nearnorm.models.aggregates.events import name_digest
from nearnorm.models.aggregates.key_events import without
from nearnorm.service.access.analyst_name import spellings
from nearnorm.service.ids import new_id
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.seen_lines import EVERY_LINE, SeenLines
from nearnorm.service.ledger.tables import aggregate_keys, keys, sessions
from nearnorm.service.ledger.tables import audit_trail as audit
from nearnorm.service.ledger.tables.events import events
from nearnorm.service.ledger.tables.feedback import claims, erasure, reference_rows, skips, snoozes
from nearnorm.service.ledger.tables.webhooks import outbox, subscriptions

Forgetting = Callable[[str, SeenLines], AbstractContextManager[None]]


class Reach(Struct, frozen=True):
    """How far an erasure reaches: of events, labels and what goes with them these lines, of reference rows
    those of these versions (None: all)."""

    lines: SeenLines = EVERY_LINE
    versions: frozenset[str] | None = None


EVERYWHERE = Reach()


class Erased(Struct, frozen=True):
    """`counted`: keys of which something was kept to count over windows, and is not any more."""

    events: int
    labels: int
    counted: int = 0


def forget_record(
    ledger: Ledger,
    record_id: str,
    actor: str,
    forgetting: Forgetting | None = None,
    reach: Reach = EVERYWHERE,
) -> Erased:
    """Delete the events of the caller's record, equal rows of a reference, and blank its labels, for good;
    and what is kept of it to be counted over windows, also where it is a key's name.

    `forgetting` keeps the event log's queue from writing them after all. The trail tells that something
    was erased, not what.
    """
    lines = reach.lines
    guard = forgetting(record_id, lines) if forgetting else nullcontext()
    with guard, ledger.write() as connection:
        digests = events.digests_of(connection, record_id, lines)
        claims.erase_equal(connection, digests, lines)
        skips.erase_equal(connection, digests, lines)
        snoozes.erase_equal(connection, digests, lines)
        outbox.erase_answers(connection, lines)
        counted = _forget_counted(connection, record_id, lines)
        in_reference = reference_rows.erase_equal(connection, digests, reach.versions)
        erased = Erased(
            events.erase_record(connection, record_id, lines) + in_reference,
            erasure.erase_record(connection, record_id, lines),
            counted,
        )
        told = {"events": erased.events, "labels": erased.labels} | ({"counted": counted} if counted else {})
        audit.note(connection, actor, "forget", "record", **told)
    ledger.scrub()
    return erased


def _forget_counted(connection: sa.Connection, name: str, lines: SeenLines) -> int:
    """What is kept of events of that id, and of keys that are called so; of how many keys."""
    digest = name_digest(name)
    if digest is None:
        return 0
    keys = aggregate_keys.erase_key(connection, digest, lines)
    for row in aggregate_keys.with_bytes_of(connection, digest, lines):
        left = without(row.events, digest)
        if left is not None:
            aggregate_keys.replace(connection, row, left)
            keys += 1
    return keys


def forget_reference_row(ledger: Ledger, event_id: str, actor: str, reach: Reach = EVERYWHERE) -> Erased:
    """Delete the record of a reference row that was offered for review. Version and signature stay."""
    with ledger.write() as connection:
        claims.erase_event(connection, event_id, reach.lines)
        skips.erase_event(connection, event_id, reach.lines)
        snoozes.erase_event(connection, event_id, reach.lines)
        erased = Erased(reference_rows.erase(connection, event_id, reach.versions), 0)
        audit.note(connection, actor, "forget", "reference row", events=erased.events)
    ledger.scrub()
    return erased


def forget_analyst(ledger: Ledger, analyst: str, actor: str, lines: SeenLines = EVERY_LINE) -> Erased:
    """Put a pseudonym in the place of an analyst's name, delete their comments, and sign them out.

    Verdicts stay. In `lines` alone, and of keys that see no other: elsewhere the name may be another's.
    """
    pseudonym = f"erased-{new_id()[-10:].lower()}"
    with ledger.write() as connection:
        names = spellings(analyst)
        for name in names:
            claims.erase_analyst(connection, name, lines)
            sessions.erase_analyst(connection, name, keys.ids_within(connection, lines))
            skips.erase_analyst(connection, name, lines)
            snoozes.erase_analyst(connection, name, lines)
        subscriptions.erase_analyst(connection, names, lines)
        outbox.erase_analyst(connection, names, pseudonym, lines)
        named = [erasure.erase_analyst(connection, name, pseudonym, lines) for name in names]
        erased = Erased(0, sum(named))
        audit.note(connection, actor, "forget", "analyst", labels=erased.labels)
    ledger.scrub()
    return erased

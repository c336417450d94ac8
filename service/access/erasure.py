"""Erasure: features are personal data. What a person asks to be forgotten goes from events and labels."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from msgspec import Struct

from nearnorm.service.access.analyst_name import spellings
from nearnorm.service.ids import new_id
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables import audit_trail as audit
from nearnorm.service.ledger.tables import sessions
from nearnorm.service.ledger.tables.events import events
from nearnorm.service.ledger.tables.feedback import claims, erasure, reference_rows, skips, snoozes
from nearnorm.service.ledger.tables.webhooks import outbox, subscriptions

Forgetting = Callable[[str], AbstractContextManager[None]]


class Erased(Struct, frozen=True):
    events: int
    labels: int


def forget_record(ledger: Ledger, record_id: str, actor: str, forgetting: Forgetting | None = None) -> Erased:
    """Delete the events of the caller's record, equal rows of a reference, and blank its labels, for good.

    `forgetting` keeps the event log's queue from writing them after all. The trail tells that something
    was erased, not what.
    """
    guard = forgetting(record_id) if forgetting else nullcontext()
    with guard, ledger.write() as connection:
        digests = events.digests_of(connection, record_id)
        claims.erase_equal(connection, digests)
        skips.erase_equal(connection, digests)
        snoozes.erase_equal(connection, digests)
        outbox.erase_answers(connection)
        in_reference = reference_rows.erase_equal(connection, digests)
        erased = Erased(
            events.erase_record(connection, record_id) + in_reference,
            erasure.erase_record(connection, record_id),
        )
        audit.note(connection, actor, "forget", "record", events=erased.events, labels=erased.labels)
    ledger.scrub()
    return erased


def forget_reference_row(ledger: Ledger, event_id: str, actor: str) -> Erased:
    """Delete the record of a reference row that was offered for review. Version and signature stay."""
    with ledger.write() as connection:
        claims.erase_event(connection, event_id)
        skips.erase_event(connection, event_id)
        snoozes.erase_event(connection, event_id)
        erased = Erased(reference_rows.erase(connection, event_id), 0)
        audit.note(connection, actor, "forget", "reference row", events=erased.events)
    ledger.scrub()
    return erased


def forget_analyst(ledger: Ledger, analyst: str, actor: str) -> Erased:
    """Put a pseudonym in the place of an analyst's name, delete their comments, and sign them out.

    Verdicts stay.
    """
    pseudonym = f"erased-{new_id()[-10:].lower()}"
    with ledger.write() as connection:
        names = spellings(analyst)
        for name in names:
            claims.erase_analyst(connection, name)
            sessions.erase_analyst(connection, name)
            skips.erase_analyst(connection, name)
            snoozes.erase_analyst(connection, name)
        subscriptions.erase_analyst(connection, names)
        outbox.erase_analyst(connection, names, pseudonym)
        named = [erasure.erase_analyst(connection, name, pseudonym) for name in names]
        erased = Erased(0, sum(named))
        audit.note(connection, actor, "forget", "analyst", labels=erased.labels)
    ledger.scrub()
    return erased

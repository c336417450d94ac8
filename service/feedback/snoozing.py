"""Snoozing: a record is left out of the queue and of claims until a time, for everybody."""

import sqlalchemy as sa

from nearnorm.service.errors import Conflict, NotFound
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.tables.events.events import Event
from nearnorm.service.ledger.tables.feedback import claims, snoozes
from nearnorm.service.ledger.tables.feedback.claims import Holder
from nearnorm.service.ledger.tables.feedback.snoozes import Snooze

MOST_OF_KEY = 10_000


def snooze(connection: sa.Connection, found: Event, holder: Holder, reason: str, until: int) -> Snooze:
    """Put a record to sleep until then (ms since 1970); whoever holds it holds it no more.

    Raises Conflict where the key's analysts let too many sleep already.
    """
    claims.lock(connection)
    if snoozes.count_of_key(connection, holder.actor, now_ms()) >= MOST_OF_KEY:
        raise Conflict(
            f"the analysts of this API key let {MOST_OF_KEY:,} records sleep, the most there may be: wake "
            "some (DELETE /snoozes/{event_id})",
            field="event_id",
        )
    mine = Snooze(found.model, found.digest, found.event_id, holder.actor, holder.analyst, reason, until)
    snoozes.put(connection, mine)
    claims.end(connection, found.model, [found.digest])
    return mine


def wake(connection: sa.Connection, found: Event) -> None:
    """Raises NotFound where the record does not sleep."""
    if not snoozes.end(connection, found.model, found.digest, now_ms()):
        raise NotFound("the record of this event does not sleep", field="event_id")

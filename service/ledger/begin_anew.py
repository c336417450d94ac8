"""The line `default` begins anew with its first own model: what the starter scored and was told is set aside.

The starter knows other records. Its events, labels and counts of traffic go to a name that no model can have:
nobody is offered them any more, receipts go on telling of them, and erasure reaches them.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

import sqlalchemy as sa
from msgspec import Struct

from nearnorm.models.store.folder import DEFAULT_MODEL, Activation
from nearnorm.service.ids import first_id_at, now_ms
from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.tables import audit_trail as audit
from nearnorm.service.ledger.tables import jobs, lines
from nearnorm.service.ledger.tables.events import candidates
from nearnorm.service.ledger.tables.events.events import events
from nearnorm.service.ledger.tables.events.traffic import traffic_hours
from nearnorm.service.ledger.tables.feedback.claims import claims
from nearnorm.service.ledger.tables.feedback.labels import labels, verdicts
from nearnorm.service.ledger.tables.feedback.second_opinions import second_opinions
from nearnorm.service.ledger.tables.feedback.skips import skips
from nearnorm.service.ledger.tables.feedback.snoozes import snoozes

APART = "(starter)"
STARTER = "starter"
"""Who activates it, in the store's log."""
_MINUTE_MS = 60_000


class FirstOwn(Struct, frozen=True):
    """When (ms) the first own model was activated, and the versions before it: the starter, and what
    retrainings made of it."""

    at: int
    before: frozenset[str]


def after_starter(log: Sequence[Activation]) -> list[Activation]:
    """The line's entries, where it began with the starter and another version came; else none."""
    entries = [entry for entry in log if entry.model == DEFAULT_MODEL]
    if not entries or entries[0].by != STARTER or len({entry.version for entry in entries}) == 1:
        return []
    return entries


def first_own(connection: sa.Connection, entries: Sequence[Activation]) -> FirstOwn | None:
    """None: of these entries, the starter's first, all are its own or what retrainings made of it."""
    before = jobs.made_of(connection, DEFAULT_MODEL, entries[0].version)
    own = next((entry for entry in entries if entry.version not in before), None)
    return None if own is None else FirstOwn(round(datetime.fromisoformat(own.at).timestamp() * 1000), before)


def begin_anew(connection: sa.Connection, own: FirstOwn) -> bool:
    """Set aside what was before; False: that was done, or the ledger is of a release that did not."""
    if not lines.begin(connection, DEFAULT_MODEL, own.at):
        return False
    tick(connection, "labels")
    set_aside_events(connection, own, 0)
    for held in (claims, snoozes):
        connection.execute(sa.delete(held).where(held.c.model == DEFAULT_MODEL))
    for table in (labels, verdicts, second_opinions, skips):
        ours = sa.and_(table.c.model == DEFAULT_MODEL, table.c.at < own.at)
        connection.execute(sa.update(table).where(ours).values(model=APART))
    counted = sa.and_(traffic_hours.c.model == DEFAULT_MODEL, traffic_hours.c.version.in_(own.before))
    connection.execute(sa.update(traffic_hours).where(counted).values(model=APART))
    for job in (jobs.waiting(connection, DEFAULT_MODEL), jobs.running(connection, DEFAULT_MODEL)):
        if job is not None and job.at < own.at:
            jobs.cancel(connection, job.job_id, STARTER, now_ms())
    audit.note(connection, STARTER, "line.begin", DEFAULT_MODEL)
    return True


def set_aside_late(connection: sa.Connection, own: FirstOwn) -> None:
    """Events that the versions before wrote as the new one came."""
    set_aside_events(connection, own, own.at - _MINUTE_MS)


def set_aside_events(connection: sa.Connection, own: FirstOwn, since: int) -> None:
    theirs = _scored_by(own.before, since)
    candidates.forget(connection, sa.select(events.c.event_id).where(theirs))
    connection.execute(sa.update(events).where(theirs).values(model=APART))


def _scored_by(versions: Collection[str], since: int) -> sa.ColumnElement[bool]:
    return sa.and_(
        events.c.event_id >= first_id_at(max(since, 0)),
        events.c.model == DEFAULT_MODEL,
        events.c.model_version.in_(versions),
    )

"""Claims: an analyst gets what to review next, and for a while nobody else does.

What comes next is the queue's, less what others hold. Who asks again keeps what he holds and is given more.
"""

from collections.abc import Sequence
from secrets import randbelow

import sqlalchemy as sa
from msgspec import Struct

from nearnorm.service.errors import Conflict
from nearnorm.service.feedback import queue
from nearnorm.service.feedback.queue import Cursor, Pick, Why
from nearnorm.service.feedback.submission.second_opinion import is_answerable
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.tables import audit_trail as audit
from nearnorm.service.ledger.tables.events import events
from nearnorm.service.ledger.tables.events.candidates import candidates, open_of
from nearnorm.service.ledger.tables.events.events import Event
from nearnorm.service.ledger.tables.feedback import (
    claims,
    reference_rows,
    second_opinions,
    skips,
    snoozes,
)
from nearnorm.service.ledger.tables.feedback.claims import Claim, Holder
from nearnorm.service.ledger.tables.feedback.skips import Skip

MOST = 200  # records that an analyst holds of a model
MOST_OF_KEY = 2_000  # records that all analysts of an API key hold
MOST_SKIPPED_OF_KEY = 10_000

_OF_EVENTS: dict[str, Why] = {why: why for why in queue.MIX}


class ReviewScope(Struct, frozen=True):
    """What there is to review: a model's version, the percentile above which a record is an anomaly, and how
    many rows of its reference are to be judged."""

    model: str
    version: str
    threshold: float
    reference_rows: int


class Ask(Struct, frozen=True):
    """`limit` records to hold for `lease` ms. `operates`: the key has the role operate."""

    holder: Holder
    limit: int
    lease: int
    operates: bool = False


class Held(Struct, frozen=True):
    """In the order in which they were handed out; `until` in ms since 1970."""

    picks: list[Pick]
    until: int


def claim(connection: sa.Connection, review: ReviewScope, ask: Ask) -> Held:
    """Renew what the holder has and is still open, and fill up to the limit.

    Raises Conflict where the key's analysts hold too much to get any more.
    """
    turn = claims.lock(connection)
    now = now_ms()
    until = now + ask.lease
    held = claims.held(connection, review.model, ask.holder, now)
    kept = _still_open(connection, review, held)
    gone = [one.event_id for one in held if one.digest not in kept]
    if gone:
        claims.give_back(connection, review.model, ask.holder, gone)
    claims.renew(connection, review.model, ask.holder, until)
    picks = list(kept.values())
    more = _more(connection, review, ask, picks, now)
    rows = [
        Claim(
            review.model,
            pick.event.digest,
            pick.event.event_id,
            pick.why,
            ask.holder.actor,
            ask.holder.analyst,
            until,
            turn,
            place,
        )
        for place, pick in enumerate(more)
    ]
    given = claims.take(connection, rows, now)
    return Held([*picks, *(pick for pick in more if pick.event.digest in given)], until)


def give_back(
    connection: sa.Connection,
    model: str,
    holder: Holder,
    event_ids: Sequence[str] | None,
    until: int | None = None,
) -> int:
    """Let others have what the holder was handed out, all of it by default; how many records that were.

    `until`: but for what was renewed beyond that (ms), as by a second page of the same analyst.
    """
    claims.lock(connection)
    return claims.give_back(connection, model, holder, event_ids, until)


def take_back(
    connection: sa.Connection,
    model: str,
    holder: Holder,
    event_ids: Sequence[str] | None,
    until: int | None,
    operator: str,
) -> int:
    """`give_back` by somebody else, which the audit trail tells."""
    released = give_back(connection, model, holder, event_ids, until)
    whose = f"analyst {holder.analyst}"
    audit.note(connection, operator, audit.TAKEN_BACK, whose, key=holder.actor, model=model, records=released)
    return released


def skip(connection: sa.Connection, found: Event, holder: Holder, reason: str) -> int:
    """Let others have a record that the holder will not judge; how many analysts skipped it by now.

    Raises Conflict where the key's analysts skipped too many already.
    """
    claims.lock(connection)
    if skips.count_of_key(connection, holder.actor) >= MOST_SKIPPED_OF_KEY:
        raise Conflict(
            f"the analysts of this API key have skipped {MOST_SKIPPED_OF_KEY:,} records, the most there may "
            "be: a skip is forgotten when it is as old as events are kept (NEARNORM_EVENT_DAYS)",
            field="event_id",
        )
    model, digest = found.model, found.digest
    mine = Skip(model, digest, holder.actor, holder.analyst, found.event_id, reason, now_ms())
    skips.put(connection, mine)
    claims.end_own(connection, model, digest, holder)
    return skips.counts(connection, model, [digest])[digest]


def _still_open(connection: sa.Connection, review: ReviewScope, held: Sequence[Claim]) -> dict[str, Pick]:
    """Of what is held, by digest and in order, what the queue would still give."""
    model = review.model
    found: dict[str, Pick] = {}
    if doubted := [one.digest for one in held if one.why == "second_opinion"]:
        only = second_opinions.second_opinions.c.digest.in_(doubted)
        picks, _ = queue.review_doubts(connection, model, len(doubted), Cursor(), only)
        found |= {pick.event.digest: pick for pick in picks}
    if rows := [one.digest for one in held if one.why == "reference"]:
        only = reference_rows.reference_rows.c.digest.in_(rows)
        unjudged = reference_rows.unjudged(connection, model, review.version, len(rows), None, only)
        found |= {event.digest: Pick(event, "reference") for _, event in unjudged}
    if logged := {one.digest: one for one in held if one.why in _OF_EVENTS}:
        still = open_of(model).where(candidates.c.digest.in_(logged)).with_only_columns(candidates.c.digest)
        ids = [logged[digest].event_id for digest in connection.scalars(still)]
        kept = events.of_ids(connection, ids).values()
        found |= {event.digest: Pick(event, _OF_EVENTS[logged[event.digest].why]) for event in kept}
    return {one.digest: found[one.digest] for one in held if one.digest in found}


def _more(
    connection: sa.Connection, review: ReviewScope, ask: Ask, kept: Sequence[Pick], now: int
) -> list[Pick]:
    """What else the holder gets: each record once, none that somebody holds."""
    missing = ask.limit - len(kept)
    if missing <= 0:
        return []
    left = MOST_OF_KEY - claims.count_of_key(connection, ask.holder.actor, now)
    if left <= 0:
        raise Conflict(
            f"the analysts of this API key hold {MOST_OF_KEY} records, the most there may be: label some, "
            "give some back (POST /claims/release), or renew yours alone with a lower `limit`",
            field="limit",
        )
    found: dict[str, Pick] = {}
    taken = sum(pick.event.size or 0 for pick in kept)
    for pick in _next(connection, review, ask, min(missing, left), taken, now):
        found.setdefault(pick.event.digest, pick)
    return list(found.values())


def _next(
    connection: sa.Connection, review: ReviewScope, ask: Ask, limit: int, taken: int, now: int
) -> list[Pick]:
    """The queue's first page, of what nobody holds and this holder can answer and did not skip."""
    model, holder, begin = review.model, ask.holder, Cursor()

    def free(digest: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
        """For this holder."""
        return sa.and_(
            claims.is_free(model, digest, now),
            snoozes.is_awake(model, digest, now),
            sa.not_(skips.is_skipped(model, digest, holder)),
        )

    waiting = free(second_opinions.second_opinions.c.digest)
    picks: list[Pick] = []
    if second_opinions.waiting(connection, model, 1, None, waiting):  # seldom: labels are looked through
        answerable = is_answerable(connection, model, holder.actor, holder.analyst, ask.operates)
        picks, _ = queue.review_doubts(connection, model, limit, begin, waiting, answerable)
    wanted = review.reference_rows - claims.count_of_kind(connection, model, "reference", now)
    digest = reference_rows.reference_rows.c.digest
    left = limit - len(picks)
    rows, _ = queue.review_reference(connection, model, review.version, wanted, left, begin, free(digest))
    picks += rows
    if left := limit - len(picks):
        # from anywhere in the mix: who asks for one at a time gets all kinds, as often as who asks for many
        start = randbelow(len(queue.MIX))
        logged, _ = queue.review(
            connection,
            model,
            review.threshold,
            left,
            begin,
            free(candidates.c.digest),
            start=start,
            taken=taken,
        )
        picks += logged
    return picks

"""What goes from the event log, and when: by age, and where there is more than there may be, by share.

While the log is within its bounds everybody keeps everything. Beyond them every caller keeps a fair share
(an even part, and more where others need less), and within it unjudged alerts are kept longest: the rest
(the random slice, and alerts with a verdict) goes first, but for a quarter of the share, which retraining
and the estimate of recall live on.
"""

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from nearnorm.service.fair_shares import fair_shares
from nearnorm.service.ids import first_id_at
from nearnorm.service.ledger.database import insert, metadata
from nearnorm.service.ledger.tables.events.candidates import candidates, forget
from nearnorm.service.ledger.tables.events.events import events

CHUNK = 5000  # rows deleted in one transaction, so that nobody waits long for the lock
STATEMENT = 1000  # of these in one statement: a slow server has as long for each
UNKNOWN_SIZE = 1000  # bytes of an event that was kept before sizes were noted
REST = 4  # one part in so many of a caller's share is for what is no unjudged alert

cuts = sa.Table(
    "event_cuts",
    metadata,
    sa.Column("caller", sa.Text, primary_key=True),  # empty: not known
    sa.Column("until", sa.Text, nullable=False),  # up to this event_id, not all that was kept is there
)

_size = sa.func.coalesce(events.c.size, UNKNOWN_SIZE)
_is_judged = sa.exists().where(candidates.c.event_id == events.c.event_id, candidates.c.judged)


class Amount(NamedTuple):
    """Of events, or how many there may be."""

    rows: int = 0
    bytes: int = 0

    def plus(self, other: "Amount") -> "Amount":
        return Amount(self.rows + other.rows, self.bytes + other.bytes)

    def minus(self, other: "Amount") -> "Amount":
        return Amount(self.rows - other.rows, self.bytes - other.bytes)

    def within(self, other: "Amount") -> bool:
        return self.rows <= other.rows and self.bytes <= other.bytes


class Usage(NamedTuple):
    """What a caller holds: alerts, and rows of the random slice that are none."""

    alerts: Amount = Amount()
    slice: Amount = Amount()

    @property
    def all(self) -> Amount:
        return self.alerts.plus(self.slice)


class Surplus(NamedTuple):
    """Events to delete, by caller."""

    alerts: dict[str | None, list[str]]
    rest: dict[str | None, list[str]]

    def __bool__(self) -> bool:
        return bool(self.alerts or self.rest)


def usage(connection: sa.Connection) -> dict[str | None, Usage]:
    """What every caller holds; None: events from before callers were noted."""
    query = sa.select(events.c.caller, events.c.anomaly, sa.func.count(), sa.func.sum(_size))
    found: dict[str | None, Usage] = defaultdict(Usage)
    for caller, alert, rows, size in connection.execute(query.group_by(events.c.caller, events.c.anomaly)):
        amount = Amount(rows, int(size))
        found[caller] = found[caller]._replace(**{"alerts" if alert else "slice": amount})
    return dict(found)


def prune_aged(connection: sa.Connection, before_ms: int) -> int:
    """Delete up to CHUNK events that are too old; labels keep their copy. Answers how many."""
    aged = sa.select(events.c.event_id).where(events.c.event_id < first_id_at(before_ms))
    doomed = list(connection.scalars(aged.order_by(events.c.event_id).limit(CHUNK)))
    _delete(connection, doomed)
    return len(doomed)


def surplus(connection: sa.Connection, held: Mapping[str | None, Usage], most: Amount) -> Surplus:
    """What has to go next where callers hold more than `most` together; empty: nothing. In chunks."""
    rows = fair_shares({caller: use.all.rows for caller, use in held.items()}, most.rows)
    size = fair_shares({caller: use.all.bytes for caller, use in held.items()}, most.bytes)
    found = Surplus({}, {})
    for caller, use in held.items():
        share = Amount(rows[caller], size[caller])
        if use.all.within(share):
            continue
        judged = _judged(connection, caller)
        rest, alerts = use.slice.plus(judged), use.alerts.minus(judged)
        kept = Amount(*map(_part_of_rest, rest, alerts, share))
        over = rest.minus(kept)
        if doomed := _oldest(connection, _rest(caller), over):
            found.rest[caller] = doomed
        over = alerts.minus(share.minus(kept))
        alert = _of(caller).where(events.c.anomaly, ~_is_judged).order_by(events.c.event_id)
        if doomed := _oldest(connection, [alert], over):
            found.alerts[caller] = doomed
    return found


def delete(connection: sa.Connection, doomed: Surplus) -> None:
    """Delete events over the bounds, and note up to where their callers' are not all there any more."""
    until: dict[str, str] = defaultdict(str)
    for part in doomed:
        for caller, event_ids in part.items():
            _delete(connection, event_ids)
            until[caller or ""] = max([until[caller or ""], *event_ids])
    fresh = insert(connection, cuts)
    later = fresh.on_conflict_do_update(
        index_elements=["caller"],
        set_={"until": fresh.excluded.until},
        where=cuts.c.until < fresh.excluded.until,
    )
    connection.execute(later, [{"caller": caller, "until": last} for caller, last in sorted(until.items())])


def is_complete(connection: sa.Connection) -> sa.ColumnElement[bool]:
    """Of an event: whether all that its caller had kept since then is still there."""
    until: dict[str, str] = dict(iter(connection.execute(sa.select(cuts.c.caller, cuts.c.until))))
    if not until:
        return sa.true()
    return events.c.event_id > sa.case(until, value=sa.func.coalesce(events.c.caller, ""), else_="")


def _part_of_rest(rest: int, alerts: int, share: int) -> int:
    """How much of a share is for what is no unjudged alert: a quarter, and what the alerts leave."""
    return min(rest, max(share // REST, share - alerts))


def _of(caller: str | None) -> sa.Select[Any]:
    return sa.select(events.c.event_id, _size).where(_is_of(caller))


def _is_of(caller: str | None) -> sa.ColumnElement[bool]:
    return events.c.caller.is_(None) if caller is None else events.c.caller == caller


def _alerts_with_verdict(*columns: Any, caller: str | None) -> sa.Select[Any]:  # noqa: ANN401
    """From the candidates: of equal records the newest."""
    joined = candidates.join(events, events.c.event_id == candidates.c.event_id)
    return (
        sa.select(*columns).select_from(joined).where(candidates.c.judged, events.c.anomaly, _is_of(caller))
    )


def _judged(connection: sa.Connection, caller: str | None) -> Amount:
    query = _alerts_with_verdict(sa.func.count(), sa.func.coalesce(sa.func.sum(_size), 0), caller=caller)
    rows, size = connection.execute(query).one()
    return Amount(rows, int(size))


def _rest(caller: str | None) -> list[sa.Select[Any]]:
    judged = _alerts_with_verdict(events.c.event_id, _size, caller=caller)
    slice_ = _of(caller).where(~events.c.anomaly)
    return [query.order_by(events.c.event_id) for query in (slice_, judged)]


def _oldest(connection: sa.Connection, queries: Sequence[sa.Select[Any]], over: Amount) -> list[str]:
    """Ids of the oldest events of these queries that make up an amount, at most CHUNK."""
    if over.within(Amount()):
        return []
    parts = [connection.execute(query.limit(CHUNK)).all() for query in queries]
    found: list[str] = []
    size = 0
    for event_id, bytes_ in heapq.merge(*parts):
        if len(found) == CHUNK or (len(found) >= over.rows and size >= over.bytes):
            break
        found.append(event_id)
        size += bytes_
    return found


def _delete(connection: sa.Connection, event_ids: Sequence[str]) -> None:
    for start in range(0, len(event_ids), STATEMENT):
        some = event_ids[start : start + STATEMENT]
        forget(connection, some)
        connection.execute(sa.delete(events).where(events.c.event_id.in_(some)))

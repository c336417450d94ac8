"""What to review next: a mix of the strangest, of the uncertain, and of the random slice. One place.

The strangest are where anomalies are found; those near the threshold are where a verdict moves it; the
random slice is where misses show, and by its probabilities how many there are. Before all of them come
the highest rows of a new model's reference, up to a number of verdicts: an anomaly among those holds the
threshold up for everybody, until it is found.
"""

import base64
import binascii
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeAlias

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace

from nearnorm.service.errors import InvalidRequest
from nearnorm.service.ledger.tables.events.candidates import (
    Candidate,
    Ranks,
    callers,
    candidates,
    open_of,
    ranked,
)
from nearnorm.service.ledger.tables.events.events import Event, of_ids
from nearnorm.service.ledger.tables.feedback import reference_rows, second_opinions
from nearnorm.service.ledger.tables.feedback.reference_rows import Place

Why = Literal["second_opinion", "reference", "top", "uncertain", "audit"]

MIX: tuple[Why, ...] = (*("top",) * 9, "uncertain", *("top",) * 9, "audit")
"""In this order, again and again; a stream that has run dry leaves its places to the others. Shares by
measurement (docs/loop.md): with more of the uncertain and the random, analysts find fewer anomalies and the
model learns no better."""


SPARE = 2  # times as many are looked at as are asked for, as an event may stand in several streams
MOST_BYTES = 4 * 2**20
"""Of a page's events, about: it ends there, however many were asked for. One event always fits."""

_COLUMNS = (candidates.c.percentile, candidates.c.score, candidates.c.event_id)
_rank = sa.tuple_(*_COLUMNS)
_UP = tuple(column.asc() for column in _COLUMNS)
_DOWN = tuple(column.desc() for column in _COLUMNS)
Order: TypeAlias = tuple[sa.UnaryExpression[Any], ...]


class Pick(Struct, frozen=True):
    event: Event
    why: Why
    said: str | None = None


class QueuePosition(msgspec.Struct, array_like=True, frozen=True):
    """A place in the order of rank: percentile, score, event_id."""

    percentile: float
    score: float
    event_id: str


class Cursor(msgspec.Struct, array_like=True, frozen=True):
    """What was handed out: all above `top`, between `low` and `high`, audits from `audit` on, reference rows
    down to `reference`, doubted labels up to `doubted`; of every caller's alerts all above a place,
    and how many of theirs in all."""

    top: QueuePosition | None = None
    low: QueuePosition | None = None
    high: QueuePosition | None = None
    audit: str | None = None
    reference: tuple[float, str] | None = None
    doubted: str | None = None
    alerts: dict[str, QueuePosition] = {}
    given: dict[str, int] = {}


def read_cursor(text: str | None) -> Cursor:
    """Raises InvalidRequest."""
    if text is None:
        return Cursor()
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text.encode()), type=Cursor)
    except (msgspec.DecodeError, binascii.Error, ValueError):
        raise InvalidRequest("cursor: send what an earlier answer gave as `next`", field="cursor") from None


def write_cursor(cursor: Cursor) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode()


def review_doubts(
    connection: sa.Connection, model: str, limit: int, cursor: Cursor, *which: sa.ColumnElement[bool]
) -> tuple[list[Pick], Cursor]:
    """Up to `limit` records whose label waits for a second opinion, the oldest first. `which`: only those."""
    found = second_opinions.waiting(connection, model, limit, cursor.doubted, *which)
    if found:
        cursor = replace(cursor, doubted=found[-1].feedback_id)
    picks = [
        Pick(event, "second_opinion", doubt.label)
        for doubt in found
        if (event := second_opinions.find(connection, model, doubt.feedback_id))
    ]
    return picks, cursor


def review_reference(
    connection: sa.Connection,
    model: str,
    version: str,
    wanted: int,
    limit: int,
    cursor: Cursor,
    *which: sa.ColumnElement[bool],
) -> tuple[list[Pick], Cursor]:
    """Up to `limit` of the highest rows of the version's reference, until `wanted` of them are judged.

    `which`: only those.
    """
    left = min(limit, wanted - reference_rows.progress(connection, model, version).judged)
    if left <= 0:
        return [], cursor
    after = Place(*cursor.reference) if cursor.reference else None
    found = reference_rows.unjudged(connection, model, version, left, after, *which)
    if found:
        cursor = replace(cursor, reference=tuple(found[-1][0]))
    return [Pick(event, "reference") for _, event in found], cursor


def review(
    connection: sa.Connection,
    model: str,
    threshold: float,
    limit: int,
    cursor: Cursor,
    *which: sa.ColumnElement[bool],
    start: int = 0,
    taken: int = 0,
) -> tuple[list[Pick], Cursor | None]:
    """Up to `limit` events nobody has judged, and the cursor to go on with (None: that was all).

    `threshold` is the percentile above which a record is an anomaly. `which`: only those of the candidates.
    Shares are those of MIX from its place `start` on. `taken`: bytes of what is on the page already.
    """
    streams = _Streams(connection, model, threshold, cursor, SPARE * limit, which)
    slots = Counter(itertools.islice(itertools.cycle(MIX), start, start + limit))
    page = _Page(limit, threshold, cursor, MOST_BYTES - taken)
    uncertain, audit = streams.uncertain(), streams.audit()
    page.take("uncertain", uncertain, slots["uncertain"])
    page.take("audit", audit, slots["audit"])
    top = streams.top(page.cursor.given)
    waiting: dict[Why, list[Candidate]] = {"top": top, "uncertain": uncertain, "audit": audit}
    for why, stream in waiting.items():
        page.take(why, stream, limit)  # a stream that has run dry leaves its places to the others
    found = of_ids(connection, page.chosen)
    picks = [Pick(found[event_id], why) for event_id, why in page.in_order() if event_id in found]
    more = page.is_cut or streams.more or any(waiting.values())
    return picks, page.cursor if more else None


class _Page:
    """What was chosen so far, and the cursor after it."""

    def __init__(self, limit: int, threshold: float, cursor: Cursor, room: int) -> None:
        self._limit, self._threshold = limit, threshold
        self.cursor = cursor
        self.chosen: dict[str, Why] = {}
        self._places: dict[str, tuple[float, float, str]] = {}
        self._room = room
        self.is_cut = False

    def take(self, why: Why, stream: list[Candidate], count: int) -> None:
        """Up to `count` from the stream's front, what was chosen before left out."""
        while stream and count and len(self.chosen) < self._limit and not self.is_cut:
            candidate = stream[0]
            fresh = candidate.event_id not in self.chosen
            if fresh and self._room < MOST_BYTES and candidate.size > self._room:
                self.is_cut = True
                return
            del stream[0]
            self.cursor = _advanced(self.cursor, why, candidate, self._threshold, fresh)
            if fresh:
                self.chosen[candidate.event_id] = why
                self._places[candidate.event_id] = _place(candidate)
                self._room -= candidate.size
                count -= 1

    def in_order(self) -> Iterator[tuple[str, Why]]:
        """Mixed, the strangest by rank."""
        left: dict[Why, list[str]] = {why: [] for why in MIX}
        for event_id, why in self.chosen.items():
            left[why].append(event_id)
        left["top"].sort(key=self._places.__getitem__, reverse=True)
        for why in itertools.cycle(MIX):
            if not any(left.values()):
                return
            if left[why]:
                yield left[why].pop(0), why


class _Streams:
    """Each begins where its last page ended. They are read caller by caller, as the index has them."""

    def __init__(
        self,
        connection: sa.Connection,
        model: str,
        threshold: float,
        cursor: Cursor,
        wide: int,
        which: Sequence[sa.ColumnElement[bool]],
    ) -> None:
        """`wide`: how far to look ahead."""
        self._connection, self._cursor, self._wide = connection, cursor, wide
        self._unseen = open_of(model).where(~_handed_out(cursor, threshold), *which)
        self._callers = callers(connection, model)
        self._above = candidates.c.percentile >= threshold
        self.more = False

    def top(self, given: dict[str, int]) -> list[Candidate]:
        """Alerts, as many of one caller as of another: no flood is all of it. Then the rest, by rank."""
        turns = [
            (given.get(caller, 0) + turn, candidate)
            for caller in self._callers
            for turn, candidate in enumerate(self._of(caller, self._wide, _DOWN, self._above))
        ]
        turns.sort(key=lambda pair: _place(pair[1]), reverse=True)
        turns.sort(key=lambda pair: pair[0])
        place = self._cursor.top
        rest = self._merged(self._wide, _DOWN, ~self._above, _rank < _bound(place) if place else sa.true())
        return [*(candidate for _, candidate in turns), *rest]

    def uncertain(self) -> list[Candidate]:
        """From the threshold outwards, in turn."""
        high, low = self._cursor.high, self._cursor.low
        pairs = itertools.zip_longest(
            self._merged(self._wide // 2, _UP, self._above, _rank > _bound(high) if high else sa.true()),
            self._merged(self._wide // 2, _DOWN, ~self._above, _rank < _bound(low) if low else sa.true()),
        )
        return [candidate for pair in pairs for candidate in pair if candidate is not None]

    def audit(self) -> list[Candidate]:
        """Newest first."""
        last = self._cursor.audit
        query = self._unseen.where(
            candidates.c.audit, candidates.c.event_id < last if last else sa.true()
        ).order_by(candidates.c.event_id.desc())
        return self._read(query, self._wide)

    def _merged(self, wide: int, order: Order, *which: sa.ColumnElement[bool]) -> list[Candidate]:
        """Of all callers, by rank."""
        found = [candidate for name in self._callers for candidate in self._of(name, wide, order, *which)]
        return sorted(found, key=_place, reverse=order is _DOWN)[:wide]

    def _of(self, caller: str, wide: int, order: Order, *which: sa.ColumnElement[bool]) -> list[Candidate]:
        query = self._unseen.where(candidates.c.caller == caller, *which)
        return self._read(query.order_by(*order), wide)

    def _read(self, query: Ranks, wide: int) -> list[Candidate]:
        found = ranked(self._connection, query.limit(wide))
        self.more |= len(found) >= wide
        return found


def _place(candidate: Candidate) -> tuple[float, float, str]:
    return candidate.percentile, candidate.score, candidate.event_id


def _handed_out(cursor: Cursor, threshold: float) -> sa.ColumnElement[bool]:
    """What the pages before this one showed."""
    above = candidates.c.percentile >= threshold
    given: list[sa.ColumnElement[bool]] = [sa.false()]
    for caller, place in cursor.alerts.items():
        given.append(sa.and_(candidates.c.caller == caller, above, _rank >= _bound(place)))
    if cursor.top:
        given.append(sa.and_(~above, _rank >= _bound(cursor.top)))
    if cursor.high:
        given.append(sa.and_(above, _rank <= _bound(cursor.high)))
    if cursor.low:
        given.append(sa.and_(~above, _rank >= _bound(cursor.low)))
    if cursor.audit:
        given.append(sa.and_(candidates.c.audit, candidates.c.event_id >= cursor.audit))
    return sa.or_(*given)


def _bound(place: QueuePosition) -> sa.ColumnElement[Any]:
    return sa.tuple_(sa.literal(place.percentile), sa.literal(place.score), sa.literal(place.event_id))


def _advanced(cursor: Cursor, why: Why, candidate: Candidate, threshold: float, fresh: bool) -> Cursor:
    place = QueuePosition(*_place(candidate))
    alert = candidate.percentile >= threshold
    if fresh:
        count = cursor.given.get(candidate.caller, 0) + 1
        cursor = replace(cursor, given={**cursor.given, candidate.caller: count})
    if why == "audit":
        return replace(cursor, audit=candidate.event_id)
    if why == "uncertain":
        return replace(cursor, high=place) if alert else replace(cursor, low=place)
    if alert:
        return replace(cursor, alerts={**cursor.alerts, candidate.caller: place})
    return replace(cursor, top=place)

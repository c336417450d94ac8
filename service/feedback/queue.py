"""What to review next: a mix of the strangest, of the uncertain, and of the random slice. One place.

The strangest are where anomalies are found; those near the threshold are where a verdict moves it; the
random slice is where misses show, and by its probabilities how many there are. Before all of them come
the highest rows of a new model's reference, up to a number of verdicts: an anomaly among those holds the
threshold up for everybody, until it is found.
"""

import base64
import binascii
import itertools
from typing import Any, Literal

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace

from nearnorm.service.errors import InvalidRequest
from nearnorm.service.ledger.tables import reference_rows
from nearnorm.service.ledger.tables.candidates import Candidate, candidates, open_of, ranked
from nearnorm.service.ledger.tables.events import Event, of_ids
from nearnorm.service.ledger.tables.reference_rows import Place

Why = Literal["reference", "top", "uncertain", "audit"]

MIX: tuple[Why, ...] = (*("top",) * 9, "uncertain", *("top",) * 9, "audit")
"""In this order, again and again; a stream that has run dry is skipped. Shares by measurement (docs/loop.md):
with more of the uncertain and the random, analysts find fewer anomalies and the model learns no better."""


SPARE = 2  # times as many are looked at as are asked for, as an event may stand in several streams

_COLUMNS = (candidates.c.percentile, candidates.c.score, candidates.c.event_id)
_rank = sa.tuple_(*_COLUMNS)
_UP = tuple(column.asc() for column in _COLUMNS)
_DOWN = tuple(column.desc() for column in _COLUMNS)


class Pick(Struct, frozen=True):
    event: Event
    why: Why


class QueuePosition(msgspec.Struct, array_like=True, frozen=True):
    """A place in the order of rank: percentile, score, event_id."""

    percentile: float
    score: float
    event_id: str


class Cursor(msgspec.Struct, array_like=True, frozen=True):
    """What was handed out: all above `top`, between `low` and `high`, audits from `audit` on, and reference
    rows down to `reference`."""

    top: QueuePosition | None = None
    low: QueuePosition | None = None
    high: QueuePosition | None = None
    audit: str | None = None
    reference: tuple[float, str] | None = None


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


def review_reference(
    connection: sa.Connection, model: str, version: str, wanted: int, limit: int, cursor: Cursor
) -> tuple[list[Pick], Cursor]:
    """Up to `limit` of the highest rows of the version's reference, until `wanted` of them are judged."""
    left = min(limit, wanted - reference_rows.progress(connection, model, version).judged)
    if left <= 0:
        return [], cursor
    after = Place(*cursor.reference) if cursor.reference else None
    found = reference_rows.unjudged(connection, model, version, left, after)
    if found:
        cursor = replace(cursor, reference=tuple(found[-1][0]))
    return [Pick(event, "reference") for _, event in found], cursor


def review(
    connection: sa.Connection, model: str, threshold: float, limit: int, cursor: Cursor
) -> tuple[list[Pick], Cursor | None]:
    """Up to `limit` events nobody has judged, and the cursor to go on with (None: that was all).

    `threshold` is the percentile above which a record is an anomaly.
    """
    wide = SPARE * limit
    streams = _streams(connection, model, threshold, wide, cursor)
    more = any(len(stream) >= wide for stream in streams.values())
    chosen: dict[str, Why] = {}
    for why in itertools.cycle(MIX):
        if len(chosen) == limit or not any(streams.values()):
            break
        while streams[why]:
            event = streams[why].pop(0)
            cursor = _advanced(cursor, why, event, threshold)
            if event.event_id not in chosen:
                chosen[event.event_id] = why
                break
    found = of_ids(connection, chosen)
    picks = [Pick(found[event_id], why) for event_id, why in chosen.items() if event_id in found]
    return picks, cursor if more or any(streams.values()) else None


def _streams(
    connection: sa.Connection, model: str, threshold: float, wide: int, cursor: Cursor
) -> dict[Why, list[Candidate]]:
    """Each begins where its last page ended; the uncertain go from the threshold outwards, in turn."""
    unseen = open_of(model).where(~_handed_out(cursor, threshold))
    top = unseen.where(_rank < _bound(cursor.top)) if cursor.top else unseen
    above = unseen.where(
        _rank > _bound(cursor.high) if cursor.high else sa.true(), candidates.c.percentile >= threshold
    )
    below = unseen.where(
        _rank < _bound(cursor.low) if cursor.low else sa.true(), candidates.c.percentile < threshold
    )
    audit = unseen.where(
        candidates.c.audit, candidates.c.event_id < cursor.audit if cursor.audit else sa.true()
    )
    pairs = itertools.zip_longest(
        ranked(connection, above.order_by(*_UP).limit(wide // 2)),
        ranked(connection, below.order_by(*_DOWN).limit(wide // 2)),
    )
    return {
        "top": ranked(connection, top.order_by(*_DOWN).limit(wide)),
        "uncertain": [event for pair in pairs for event in pair if event is not None],
        "audit": ranked(connection, audit.order_by(candidates.c.event_id.desc()).limit(wide)),
    }


def _handed_out(cursor: Cursor, threshold: float) -> sa.ColumnElement[bool]:
    """What the pages before this one showed."""
    given: list[sa.ColumnElement[bool]] = [sa.false()]
    if cursor.top:
        given.append(_rank >= _bound(cursor.top))
    if cursor.high:
        given.append(sa.and_(candidates.c.percentile >= threshold, _rank <= _bound(cursor.high)))
    if cursor.low:
        given.append(sa.and_(candidates.c.percentile < threshold, _rank >= _bound(cursor.low)))
    if cursor.audit:
        given.append(sa.and_(candidates.c.audit, candidates.c.event_id >= cursor.audit))
    return sa.or_(*given)


def _bound(place: QueuePosition) -> sa.ColumnElement[Any]:
    return sa.tuple_(sa.literal(place.percentile), sa.literal(place.score), sa.literal(place.event_id))


def _advanced(cursor: Cursor, why: Why, event: Candidate, threshold: float) -> Cursor:
    place = QueuePosition(event.percentile, event.score, event.event_id)
    if why == "top":
        return replace(cursor, top=place)
    if why == "audit":
        return replace(cursor, audit=event.event_id)
    return replace(cursor, high=place) if event.percentile >= threshold else replace(cursor, low=place)

"""A label that contradicts the models strongly is kept, acts on its own record, and waits to be confirmed.

A truly new kind of anomaly looks like that, and so do a slip and a planted label. Whoever is asked again says
it once more: another labeller where there is one, else the same, or a key that may operate.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import sqlalchemy as sa
from msgspec import Struct

from nearnorm.service.feedback.submission.resolve import Bound
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.label_history import Label
from nearnorm.service.ledger.tables import audit_trail as audit
from nearnorm.service.ledger.tables.feedback import second_opinions
from nearnorm.service.ledger.tables.feedback.labels import labels
from nearnorm.service.ledger.tables.feedback.second_opinions import Doubt

NORMAL_FROM = 99.99
"""A record with this percentile or more that is called normal waits; it takes 10,000 reference rows to say
so."""
ACTIVE_MS = 30 * 24 * 3600 * 1000
"""Who labelled within this time is asked."""
BURST = 20
HOUR_MS = 3600 * 1000


class Opinion(Struct, frozen=True):
    """What the serving model says of a record."""

    score: float
    percentile: float
    prototype: int
    model_version: str


Judge = Callable[[Sequence[Label]], Mapping[str, Opinion]]
"""What the serving model says of the records of labels, by digest; nothing of those that it cannot read."""


def weigh(
    connection: sa.Connection, change: int, bound: Sequence[Bound], below: float, judge: Judge, operates: bool
) -> int:
    """Let the labels of one request wait that contradict the models, or confirm what waits.

    `below`: the percentile under which an anomaly contradicts; 0: nothing ever waits. Answers how many
    records of the key wait, where those are many as of now, else 0.
    """
    new = {one.label.digest: one for one in bound if one.label.label != "retract"}
    if not below or not new:
        return 0
    model = next(iter(new.values())).label.model
    known = second_opinions.about(connection, model, list(new))
    again = {
        digest: known[digest]
        for digest, one in new.items()
        if digest in known and known[digest].label == one.label.label
    }
    asked = {digest: doubt for digest, doubt in again.items() if doubt.confirmed is None}
    if asked:
        confirmed = _confirmed(connection, model, {d: new[d].label for d in asked}, operates)
        second_opinions.confirm(connection, model, confirmed, change)
    fresh = [one for digest, one in new.items() if digest not in again]
    opinions = judge([one.label for one in fresh])
    doubts = [
        Doubt(
            model,
            one.label.digest,
            one.label.label,
            one.label.feedback_id,
            one.label.actor,
            one.label.at,
            change,
            opinion.score,
            opinion.percentile,
            opinion.prototype,
            opinion.model_version,
        )
        for one in fresh
        if (opinion := opinions.get(one.label.digest)) and _contradicts(one, opinion, below)
    ]
    return _keep_doubts(connection, model, doubts) if doubts else 0


def _contradicts(one: Bound, opinion: Opinion, below: float) -> bool:
    """The version that serves, and the one that scored the event."""
    then = one.label.percentile_before
    percentiles = [opinion.percentile, *([] if then is None else [then])]
    if one.label.label == "anomaly":
        return max(percentiles) < below
    return min(percentiles) >= NORMAL_FROM


def _is_alone(connection: sa.Connection, model: str) -> bool:
    """Whether one labeller alone is active."""
    recent = sa.and_(
        labels.c.model == model, labels.c.at >= now_ms() - ACTIVE_MS, labels.c.label != "retract"
    )
    query = sa.select(labels.c.analyst, labels.c.actor).where(recent).distinct().limit(2)
    return len(connection.execute(query).all()) < 2


def is_answerable(
    connection: sa.Connection, model: str, actor: str, analyst: str, operates: bool
) -> sa.ColumnElement[bool]:
    """Of a row of `second_opinions`: whether a label by this key and analyst would be a second opinion.

    That of another key is; under the same key, that of another analyst where the key is the only one, and of
    the same one who is asked again where nobody else is there.
    """
    if operates or _is_alone(connection, model):
        return sa.true()
    doubts = second_opinions.second_opinions
    other_key = doubts.c.actor != actor
    recent = sa.and_(labels.c.model == model, labels.c.at >= now_ms() - ACTIVE_MS)
    if len(connection.execute(sa.select(labels.c.actor).where(recent).distinct().limit(2)).all()) > 1:
        return other_key
    first = sa.select(labels.c.analyst).where(labels.c.feedback_id == doubts.c.feedback_id)
    return sa.or_(other_key, first.scalar_subquery() != analyst)


def _confirmed(connection: sa.Connection, model: str, said: Mapping[str, Label], operates: bool) -> list[str]:
    """The digests of those labels, of one key, that are second opinions."""
    by_analyst: dict[tuple[str, str], list[str]] = defaultdict(list)
    for digest, label in said.items():
        by_analyst[label.actor, label.analyst].append(digest)
    doubts = second_opinions.second_opinions
    found: list[str] = []
    for (actor, analyst), digests in by_analyst.items():
        answerable = is_answerable(connection, model, actor, analyst, operates)
        theirs = sa.select(doubts.c.digest).where(doubts.c.model == model, doubts.c.digest.in_(digests))
        found += connection.scalars(theirs.where(answerable))
    return found


def _keep_doubts(connection: sa.Connection, model: str, doubts: Sequence[Doubt]) -> int:
    """Keep doubts, and note once an hour that a key sends many: how many, or 0."""
    actor, since = doubts[0].actor, now_ms() - HOUR_MS
    before = second_opinions.count(connection, model, actor, since)
    second_opinions.put(connection, doubts)
    records = before + len(doubts)
    if not before < BURST <= records:
        return 0
    audit.note(connection, actor, "second_opinion.burst", model, records=records)
    return records

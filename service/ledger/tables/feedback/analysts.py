"""How far analysts agree, counted from the labels: who is contradicted by the others, and how often."""

from collections import defaultdict
from collections.abc import Iterable

import sqlalchemy as sa
from msgspec import Struct

from nearnorm.service.ledger.seen_lines import EVERY_LINE, SeenLines
from nearnorm.service.ledger.tables.feedback.labels import ERASED, labels
from nearnorm.service.ledger.tables.feedback.quarantine import is_silenced
from nearnorm.service.ledger.tables.feedback.second_opinions import second_opinions


class Tally(Struct, frozen=True):
    """Of `labels` that an analyst sent, `records` were judged and not withdrawn, of those `compared` by
    another analyst too, who in `contradicted` said the opposite or retracted the label. `doubted` records
    contradicted the model when this analyst labelled them first; `confirmed` of them were confirmed since.
    """

    analyst: str
    labels: int
    records: int
    compared: int
    contradicted: int
    doubted: int
    confirmed: int
    first_at: int
    last_at: int
    keys: list[str]


def tallies(connection: sa.Connection, limit: int, offset: int, lines: SeenLines = EVERY_LINE) -> list[Tally]:
    """The most contradicted first, then who has most that nobody confirmed. What somebody in quarantine said
    contradicts nobody. Of what was said in these lines."""
    seen = lines.where(labels.c.model)
    judged = _judged(seen).subquery()
    sent = (
        sa.select(
            labels.c.analyst,
            sa.func.count().label("labels"),
            sa.func.min(labels.c.at).label("first_at"),
            sa.func.max(labels.c.at).label("last_at"),
        )
        .where(labels.c.label != "retract", seen)
        .group_by(labels.c.analyst)
        .subquery()
    )
    agreed = (
        sa.select(
            judged.c.analyst,
            sa.func.count().label("records"),
            sa.func.count().filter(judged.c.compared).label("compared"),
            sa.func.count().filter(judged.c.contradicted).label("contradicted"),
        )
        .group_by(judged.c.analyst)
        .subquery()
    )
    doubts = (
        sa.select(
            labels.c.analyst,
            sa.func.count().label("doubted"),
            sa.func.count(second_opinions.c.confirmed).label("confirmed"),
        )
        .join(second_opinions, second_opinions.c.feedback_id == labels.c.feedback_id)
        .where(seen)
        .group_by(labels.c.analyst)
        .subquery()
    )
    counts = {
        name: sa.func.coalesce(of.c[name], 0)
        for of, names in (
            (agreed, ("records", "compared", "contradicted")),
            (doubts, ("doubted", "confirmed")),
        )
        for name in names
    }
    unconfirmed = counts["doubted"] - counts["confirmed"]
    query = (
        sa.select(sent, *(count.label(name) for name, count in counts.items()))
        .outerjoin(agreed, agreed.c.analyst == sent.c.analyst)
        .outerjoin(doubts, doubts.c.analyst == sent.c.analyst)
        .order_by(counts["contradicted"].desc(), unconfirmed.desc(), sent.c.analyst)
        .limit(limit)
        .offset(offset)
    )
    rows = connection.execute(query).all()
    keys = _keys_of(connection, [row.analyst for row in rows], seen)
    return [Tally(keys=keys[row.analyst], **row._mapping) for row in rows]


def _judged(seen: sa.ColumnElement[bool]) -> sa.Select[tuple[str, bool, bool]]:
    """The newest label of every analyst on every record that they did not withdraw."""
    newest = _newest(seen).subquery()
    counts = newest.c.retracted_by.is_(None) & ~newest.c.silenced
    record = [newest.c.model, newest.c.digest]

    def on_the_record(label: str) -> sa.ColumnElement[int]:
        says = sa.case((counts & (newest.c.label == label), 1), else_=0)
        return sa.func.sum(says).over(partition_by=record)

    beside = (
        sa.select(
            newest,
            on_the_record("anomaly").label("anomalies"),
            on_the_record("normal").label("normals"),
            sa.case((counts, 1), else_=0).label("own"),
        )
        .where(newest.c.place == 1)
        .subquery()
    )
    opposite = sa.case((beside.c.label == "anomaly", beside.c.normals), else_=beside.c.anomalies)
    retracted = beside.c.retracted_by.is_not(None)
    return sa.select(
        beside.c.analyst,
        (retracted | (beside.c.anomalies + beside.c.normals > beside.c.own)).label("compared"),
        (retracted | (opposite > 0)).label("contradicted"),
    ).where(sa.func.coalesce(beside.c.retracted_by, "") != beside.c.analyst)


def _newest(seen: sa.ColumnElement[bool]) -> sa.Select[tuple[object, ...]]:
    """Labels with their `place` among those of their analyst on their record: 1 is the newest."""
    silenced = is_silenced(labels.c.model, labels.c.analyst, labels.c.actor)
    retraction = labels.alias()
    retracted_by = (
        sa.select(retraction.c.analyst)
        .where(
            retraction.c.retracts == labels.c.feedback_id,
            ~is_silenced(retraction.c.model, retraction.c.analyst, retraction.c.actor),
        )
        .limit(1)
        .scalar_subquery()
    )
    place = sa.func.row_number().over(
        partition_by=[labels.c.model, labels.c.digest, labels.c.analyst, silenced],
        order_by=labels.c.number.desc(),
    )
    return sa.select(
        labels.c.model,
        labels.c.digest,
        labels.c.analyst,
        labels.c.label,
        silenced.label("silenced"),
        retracted_by.label("retracted_by"),
        place.label("place"),
    ).where(labels.c.label != "retract", labels.c.digest != ERASED, seen)


def _keys_of(
    connection: sa.Connection, analysts: Iterable[str], seen: sa.ColumnElement[bool]
) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    query = (
        sa.select(labels.c.analyst, labels.c.actor)
        .where(labels.c.analyst.in_(list(analysts)), seen)
        .distinct()
    )
    for analyst, key in connection.execute(query.order_by(labels.c.actor)):
        found[analyst].append(key)
    return found

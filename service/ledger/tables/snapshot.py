"""What a retraining reads from the ledger: verdicts up to a number of the clock, and recent traffic."""

import json
from typing import Any

import sqlalchemy as sa
from msgspec import Struct

from nearnorm.service.ledger.clock import clock
from nearnorm.service.ledger.tables.events.events import events
from nearnorm.service.ledger.tables.feedback.labels import about, labels, verdicts
from nearnorm.service.ledger.tables.feedback.second_opinions import confirmed_since, is_waiting
from nearnorm.service.ledger.tables.jobs import jobs, of_version


class LedgerSnapshot(Struct, frozen=True):
    """`verdicts` and `traffic` are JSON lines; `watermark` is the labels' clock up to which they reach."""

    watermark: int
    verdicts: list[str]
    traffic: list[str]


def read(connection: sa.Connection, model: str, champion: str, traffic_rows: int) -> LedgerSnapshot:
    """One moment of the ledger, in a read transaction."""
    watermark = connection.execute(sa.select(clock.c.value).where(clock.c.name == "labels")).scalar() or 0
    learnt = sa.select(sa.func.max(jobs.c.watermark)).where(jobs.c.model == model, jobs.c.version == champion)
    known = int(connection.execute(learnt).scalar_one() or 0)
    made = of_version(connection, champion)
    left_out = (made.evidence or {}).get("left_out") if made else None
    standing = (
        sa.select(
            verdicts.c.digest,
            verdicts.c.verdict,
            verdicts.c.feedback_id,
            verdicts.c.change,
            labels.c.record,
            labels.c.group_id,
            events.c.probability,
            confirmed_since(known).label("confirmed"),
        )
        .join(labels, labels.c.feedback_id == verdicts.c.feedback_id)
        .outerjoin(events, events.c.event_id == labels.c.event_id)
        .where(verdicts.c.model == model, verdicts.c.verdict.in_(("anomaly", "normal")))
        .where(~is_waiting())
        .order_by(verdicts.c.digest)
    )
    found = connection.execute(standing).all()
    histories = about(connection, model, [row.digest for row in found])
    lines = []
    for row in found:
        key = histories[row.digest].alone
        lines.append(
            _line(
                digest=row.digest,
                feedback_id=row.feedback_id,
                anomaly=row.verdict == "anomaly",
                record=json.loads(row.record),
                probability=row.probability or 1.0,
                known=row.change <= known and not row.confirmed and (key is None or key != left_out),
                key=key,
                group=row.group_id,
            )
        )
    slice_ = (
        sa.select(events.c.record)
        .where(events.c.model == model, events.c.audit)
        .order_by(events.c.event_id.desc())
        .limit(traffic_rows)
    )
    return LedgerSnapshot(
        watermark, lines, [f'{{"record":{record}}}' for record in connection.scalars(slice_)]
    )


def _line(**values: Any) -> str:  # noqa: ANN401
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))

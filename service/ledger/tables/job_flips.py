"""What each job's challenger would have said otherwise of recent events: one row a job, of the newest jobs.

It holds ids, percentiles and verdicts, and nothing of the records.
"""

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from nearnorm.service.ledger.database import insert, metadata

KEPT_JOBS = 100
MOST_FLIPS = 100
"""Flips that are kept of a job."""

job_flips = sa.Table(
    "job_flips",
    metadata,
    sa.Column("job_id", sa.Text, primary_key=True),  # sorts by time
    sa.Column("comparison", sa.Text, nullable=False),  # JSON
)


class Flip(Struct, frozen=True):
    """An event whose verdict by score the challenger would change; percentiles are 0 to 100."""

    event_id: str
    percentile_before: float
    percentile_after: float
    anomaly_before: bool
    anomaly_after: bool


class EventComparison(Struct, frozen=True, omit_defaults=True):
    """Champion and challenger on the events kept since a time (ms), `unfit` of which the challenger cannot
    read. Alerts are of the `rows` of traffic that the events stand for; `gained` and `lost` are one side's
    alone. `flips` are the strongest of `flipped` events. `problem`: why there was none."""

    since: int
    events: int = 0
    unfit: int = 0
    rows: int = 0
    champion: int = 0
    challenger: int = 0
    gained: int = 0
    lost: int = 0
    flipped: int = 0
    flips: list[Flip] = []
    problem: str | None = None


def put(connection: sa.Connection, job_id: str, comparison: EventComparison) -> None:
    """In the place of what was found before; what older jobs found is forgotten."""
    text = msgspec.json.encode(comparison).decode()
    fresh = insert(connection, job_flips).values(job_id=job_id, comparison=text)
    connection.execute(
        fresh.on_conflict_do_update(index_elements=["job_id"], set_={"comparison": fresh.excluded.comparison})
    )
    newest = sa.select(job_flips.c.job_id).order_by(job_flips.c.job_id.desc()).limit(KEPT_JOBS)
    kept = newest.subquery()
    oldest = sa.select(sa.func.min(kept.c.job_id)).scalar_subquery()
    connection.execute(sa.delete(job_flips).where(job_flips.c.job_id < oldest))


def find(connection: sa.Connection, job_id: str) -> EventComparison | None:
    query = sa.select(job_flips.c.comparison).where(job_flips.c.job_id == job_id)
    text = connection.execute(query).scalar_one_or_none()
    return None if text is None else msgspec.json.decode(text, type=EventComparison)

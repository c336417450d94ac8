"""Labels that a challenger was made without: the trail names their key, they wait for a second opinion."""

import sqlalchemy as sa

from nearnorm.models.retraining import TrainingResult
from nearnorm.service.ledger.tables import audit_trail as audit
from nearnorm.service.ledger.tables.feedback import second_opinions
from nearnorm.service.ledger.tables.feedback.labels import about
from nearnorm.service.ledger.tables.feedback.second_opinions import Doubt
from nearnorm.service.ledger.tables.jobs import Job
from nearnorm.service.logs import log


def keep_left_out(connection: sa.Connection, job: Job, result: TrainingResult, *, wait: bool) -> None:
    """Note whose labels were left out; `wait`: none of them trains before somebody else says the same.

    What another key has confirmed since, or somebody took back, is not doubted.
    """
    key = result.left_out
    if key is None:
        return
    audit.note(connection, f"job:{job.job_id}", "labels.left_out", job.model, key=key, version=result.version)
    log.warning("labels of a key are left out", job_id=job.job_id, key=key)
    if not wait:
        return
    histories = about(connection, job.model, [doubted.digest for doubted in result.doubted])
    doubts = []
    for doubted in result.doubted:
        label = "anomaly" if doubted.anomaly else "normal"
        history = histories.get(doubted.digest)
        if history is None or history.alone != key or history.verdict != label:
            continue
        newest = history.standing[-1]
        doubts.append(
            Doubt(
                job.model,
                doubted.digest,
                label,
                doubted.feedback_id,
                key,
                newest.at,
                newest.change,
                doubted.score,
                doubted.percentile,
                doubted.prototype,
                str(job.champion),
            )
        )
    second_opinions.put(connection, doubts)

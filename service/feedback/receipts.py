"""GET /feedback/{id}: where a label stands, and what was learnt from it."""

from typing import Literal

import sqlalchemy as sa
from msgspec import Struct

from nearnorm.service.errors import NotFound
from nearnorm.service.ledger.label_history import Label, LabelHistory
from nearnorm.service.ledger.tables import labels

Status = Literal["stored", "waiting", "learned", "superseded", "retracted", "quarantined", "erased"]


class Receipt(Struct, omit_defaults=True):
    """`conflicts_with`: standing labels of other analysts that say the opposite, the 20 newest.

    A label in quarantine is kept, and does not count.
    """

    feedback_id: str
    status: Status
    label: str | None = None
    retracts: str | None = None
    analyst: str | None = None
    event_id: str | None = None
    record_id: str | None = None
    conflicts_with: list[str] | None = None
    job_id: str | None = None
    model_version: str | None = None
    score_before: float | None = None
    score_after: float | None = None
    score_held_out: float | None = None


def taken(label: Label, said: LabelHistory) -> Receipt:
    """What is answered to a label as soon as it is stored."""
    if not said.counts(label):
        return Receipt(label.feedback_id, "quarantined")
    return Receipt(label.feedback_id, "stored", conflicts_with=said.opponents(label))


def receipt(connection: sa.Connection, feedback_id: str) -> Receipt:
    """Raises NotFound."""
    label = labels.find(connection, feedback_id) if "\0" not in feedback_id else None
    if label is None:
        raise NotFound(f"no feedback {feedback_id[:60]!r} was ever stored", field="feedback_id")
    said = labels.about(connection, label.model, [label.digest]).get(label.digest)
    return Receipt(
        feedback_id,
        _status(label, said),
        label=label.label if label.label != "retract" else None,
        retracts=label.retracts,
        analyst=label.analyst,
        event_id=label.event_id,
        record_id=label.record_id,
        conflicts_with=said.opponents(label) if said else None,
        job_id=label.job_id,
        model_version=label.model_version,
        score_before=label.score_before,
        score_after=label.score_after,
        score_held_out=label.score_held_out,
    )


def _status(label: Label, said: LabelHistory | None) -> Status:
    if said is None:
        return "erased"
    if not said.counts(label):
        return "quarantined"
    if label.label != "retract":
        if said.took_back(label.feedback_id):
            return "retracted"
        if not said.stands(label):
            return "superseded"
    return "learned" if label.job_id else "waiting"

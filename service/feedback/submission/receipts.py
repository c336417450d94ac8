"""Receipts: where labels stand, and what was learnt from them."""

from collections.abc import Mapping, Sequence
from typing import Literal

import sqlalchemy as sa
from msgspec import Struct

from nearnorm.service.errors import NotFound
from nearnorm.service.events.log import EventLog
from nearnorm.service.feedback.submission.record_ids import NamedEvent
from nearnorm.service.feedback.submission.resolve import Bound
from nearnorm.service.ids import iso
from nearnorm.service.ledger.label_history import Label, LabelHistory
from nearnorm.service.ledger.seen_lines import SeenLines
from nearnorm.service.ledger.tables.events import events
from nearnorm.service.ledger.tables.events.events import Event
from nearnorm.service.ledger.tables.feedback import labels, second_opinions

Status = Literal[
    "stored", "waiting", "second_opinion", "learned", "superseded", "retracted", "quarantined", "erased"
]


class Receipt(Struct, omit_defaults=True):
    """`conflicts_with`: standing labels of other analysts that say the opposite, the 20 newest.

    A label in quarantine is kept, and does not count; one that waits for a second opinion trains
    nothing. `group`: the verdict on a group that it was given with. `event` is what an id stood for;
    `imputed`, `unknown` and `warnings` tell of a record that came with the label, as /score does.
    Percentiles and verdicts of different models compare; their scores lie on scales of their own.
    """

    feedback_id: str
    status: Status
    at: str | None = None
    label: str | None = None
    retracts: str | None = None
    analyst: str | None = None
    event_id: str | None = None
    event: NamedEvent | None = None
    imputed: list[str] | None = None
    unknown: list[str] | None = None
    warnings: list[str] | None = None
    record_id: str | None = None
    group: str | None = None
    conflicts_with: list[str] | None = None
    job_id: str | None = None
    model_version: str | None = None
    score_before: float | None = None
    percentile_before: float | None = None
    anomaly_before: bool | None = None
    score_after: float | None = None
    percentile_after: float | None = None
    anomaly_after: bool | None = None
    score_held_out: float | None = None
    percentile_held_out: float | None = None
    anomaly_held_out: bool | None = None


def waits(connection: sa.Connection, model: str, of: Sequence[Label]) -> set[str]:
    """The digests of those labels that wait for a second opinion."""
    found = second_opinions.about(connection, model, [label.digest for label in of])
    return {
        label.digest
        for label in of
        if label.digest in found
        and found[label.digest].confirmed is None
        and found[label.digest].label == label.label
    }


def taken(bound: Bound, history: LabelHistory, waits: bool) -> Receipt:
    """What is answered to a label as soon as it is stored."""
    label, read = bound.label, bound.read
    return Receipt(
        label.feedback_id,
        _first_status(label, history, waits),
        event=NamedEvent.of(bound.event) if bound.event else None,
        imputed=read.imputed.get(0) if read else None,
        unknown=list(read.unknown.get(0, ())) or None if read else None,
        warnings=read.remarks or None if read else None,
        conflicts_with=history.opponents(label),
    )


def _first_status(label: Label, history: LabelHistory, waits: bool) -> Status:
    if not history.counts(label):
        return "quarantined"
    return "second_opinion" if waits else "stored"


def receipt(connection: sa.Connection, feedback_id: str, log: EventLog, lines: SeenLines) -> Receipt:
    """`log` may hold the event that was labelled. Raises NotFound, also for a label of no such line."""
    label = labels.find(connection, feedback_id) if "\0" not in feedback_id else None
    if label is None or not lines.sees(label.model):
        raise NotFound(f"no feedback {feedback_id[:60]!r} was ever stored", field="feedback_id")
    return _receipts(connection, [label], log)[0]


def newest(
    connection: sa.Connection,
    model: str,
    actor: str | None,
    analyst: str | None,
    limit: int,
    before: int | None,
    log: EventLog,
) -> tuple[list[Receipt], int | None]:
    """Receipts of what a key brought in and an analyst said (None: any), newest first, and the number to go
    on from; None: there are no more."""
    found = labels.newest(connection, model, actor, analyst, limit + 1, before)
    told = _receipts(connection, [label for _, label in found[:limit]], log)
    return told, found[limit - 1][0] if len(found) > limit else None


def _receipts(connection: sa.Connection, of: Sequence[Label], log: EventLog) -> list[Receipt]:
    """Of labels of one model."""
    if not of:
        return []
    model = of[0].model
    histories = labels.about(connection, model, [label.digest for label in of])
    doubted = waits(connection, model, of)
    kept = events.of_ids(connection, {label.event_id for label in of if label.event_id})
    return [
        _receipt(
            label, histories.get(label.digest), label.digest in doubted, _event(label.event_id, kept, log)
        )
        for label in of
    ]


def _receipt(label: Label, history: LabelHistory | None, waits: bool, event: NamedEvent | None) -> Receipt:
    return Receipt(
        label.feedback_id,
        _status(label, history, waits),
        at=iso(label.at),
        label=label.label if label.label != "retract" else None,
        retracts=label.retracts,
        analyst=label.analyst,
        event_id=label.event_id,
        event=event,
        record_id=label.record_id,
        group=label.group_id,
        conflicts_with=history.opponents(label) if history else None,
        job_id=label.job_id,
        model_version=label.model_version,
        score_before=label.score_before,
        percentile_before=label.percentile_before,
        anomaly_before=label.anomaly_before,
        score_after=label.score_after,
        percentile_after=label.percentile_after,
        anomaly_after=label.anomaly_after,
        score_held_out=label.score_held_out,
        percentile_held_out=label.percentile_held_out,
        anomaly_held_out=label.anomaly_held_out,
    )


def _event(event_id: str | None, kept: Mapping[str, Event], log: EventLog) -> NamedEvent | None:
    """None for an event that is not kept any more."""
    if event_id is None:
        return None
    event = log.waiting(event_id) or kept.get(event_id)
    return NamedEvent.of(event) if event else None


def _status(label: Label, history: LabelHistory | None, waits: bool) -> Status:
    if history is None:
        return "erased"
    if not history.counts(label):
        return "quarantined"
    if label.label != "retract":
        if history.took_back(label.feedback_id):
            return "retracted"
        if not history.stands(label):
            return "superseded"
        if waits:
            return "second_opinion"
    return "learned" if label.job_id else "waiting"

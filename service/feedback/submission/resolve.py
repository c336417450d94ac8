"""What each item of a feedback request speaks of: an event, a record, or an earlier label."""

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec
import sqlalchemy as sa
from msgspec import UNSET, Struct
from msgspec.structs import replace

from nearnorm.models.data.digest import record_digest
from nearnorm.service.access.analyst_name import whose
from nearnorm.service.errors import TYPE_PREFIX, misfit
from nearnorm.service.events.log import EventLog
from nearnorm.service.feedback import review
from nearnorm.service.feedback.review import FoundEvent
from nearnorm.service.feedback.submission.record_ids import MOST_CHOICES, NamedEvent, by_id, choices, others
from nearnorm.service.feedback.submission.request import Item, Submission
from nearnorm.service.ids import new_id, now_ms
from nearnorm.service.ledger.label_history import Label
from nearnorm.service.ledger.tables.events import events
from nearnorm.service.ledger.tables.events.events import Event
from nearnorm.service.ledger.tables.feedback import labels
from nearnorm.service.records.encoded import Encoded
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.records.shapes import Envelope, IndexedProblem


class Mistake(Exception):
    """One item does not fit: which kind of mistake, what and how to mend it, and the field."""

    TITLES: ClassVar = {
        "invalid-label": "The label does not fit",
        "unknown-event": "No such event is kept",
        "unknown-feedback": "No such feedback",
        "other-model": "It belongs to another model",
        "invalid-record": "The record does not fit the model",
        "contradiction": "The request contradicts itself",
        "ambiguous-record": "The id was used for several records, or by several callers",
        "already-retracted": "The label was retracted before",
        "foreign-label": "The label was brought by another key",
        "too-many-on-record": "Too many labels of one record",
    }

    def __init__(
        self, name: str, detail: str, field: str | None = None, choices: Sequence[NamedEvent] = ()
    ) -> None:
        super().__init__(detail)
        self.name, self.detail, self.field, self.choices = name, detail, field, choices

    def at(self, index: int) -> dict[str, object]:
        problem = IndexedProblem(
            index, TYPE_PREFIX + self.name, self.TITLES[self.name], self.detail, self.field
        )
        found: dict[str, object] = msgspec.to_builtins(problem)
        return found | ({"choices": msgspec.to_builtins(self.choices)} if self.choices else {})


class Bound(Struct, frozen=True):
    """A label, the event that it speaks of, or how the record was read that came with it."""

    label: Label
    event: Event | None = None
    read: Encoded | None = None


class Resolver:
    """Finds what each item speaks of."""

    def __init__(self, connection: sa.Connection, sent: Submission, log: EventLog, encoder: Encoder) -> None:
        self._connection, self._sent, self._log, self._encoder = connection, sent, log, encoder
        self._at = now_ms()  # of all items: they were said at once

    def bind(self, raw: object) -> Bound:
        """Raises Mistake."""
        item = _item(raw)
        blank = Label(
            feedback_id=new_id(),
            at=self._at,
            model=self._sent.model,
            digest="",
            label="retract" if item.label is UNSET else item.label,
            record={},
            analyst=_analyst(item, self._sent),
            actor=self._sent.actor,
            class_=item.class_,
            comment=item.comment,
            group_id=None if item.label is UNSET else self._sent.group_id,
        )
        if item.retract is not UNSET:
            return Bound(self._retraction(item.retract, blank))
        if item.record is not UNSET:
            encoded = self._read(item.record)
            record = self._encoder.record(encoded, 0)
            label = replace(blank, digest=record_digest(record), record=record, named_by="record")
            return Bound(label, read=encoded)
        found = self._event(item)
        event = found.event
        label = replace(
            blank,
            digest=event.digest,
            record=event.record,
            event_id=event.event_id,
            record_id=event.record_id,
            named_by="record_id" if item.event_id is UNSET else "event_id",
        )
        if found.source == "event":  # no other was scored; the next job tells how these ranked before it
            label = replace(
                label,
                score_before=event.score,
                percentile_before=event.percentile,
                anomaly_before=event.anomaly,
            )
        return Bound(label, event=event)

    def _event(self, item: Item) -> FoundEvent:
        if item.event_id is not UNSET:
            found = review.find(
                self._connection, self._log, self._sent.model, item.event_id, self._sent.versions
            )
            if found is None or not self._sent.lines.sees(found.event.model):
                raise Mistake(
                    "unknown-event", "no such event is kept: send the record itself as `record`", "event_id"
                )
            if found.event.model != self._sent.model:
                raise Mistake(
                    "other-model",
                    f"the event is of model {found.event.model!r}: name it as `model`",
                    "event_id",
                )
            return found
        return FoundEvent(self._newest_of(str(item.record_id)), "event")

    def _newest_of(self, id_: str) -> Event:
        model = self._sent.model
        found = self._log.waiting_of(model, id_)
        found += events.of_record(self._connection, model, id_, MOST_CHOICES)
        if not found:
            raise Mistake(
                "unknown-event",
                "no event with this id is kept (all alerts are, and a sample): send the record as `record`",
                "record_id",
            )
        newest = max(found, key=by_id)
        if different := others(newest, found):
            raise Mistake(
                "ambiguous-record",
                "events of this id within 24 hours hold different records or came from different callers: "
                "send the `event_id` of the one that is meant, see `choices`",
                "record_id",
                choices((newest, *different)),
            )
        return newest

    def _read(self, record: dict[str, Any]) -> Encoded:
        encoded = self._encoder.encode(Envelope(records=[record], strict=self._sent.strict))
        if encoded.errors:
            problem = encoded.errors[0]
            raise Mistake("invalid-record", problem.detail, f"record.{problem.field}")
        if len(encoded.imputed.get(0, ())) == len(self._encoder.schema.scored):
            raise Mistake("invalid-record", "the record has no feature that the model knows", "record")
        return encoded

    def _retraction(self, feedback_id: str, blank: Label) -> Label:
        label = labels.find(self._connection, feedback_id)
        if label is None or label.label == "retract" or not self._sent.lines.sees(label.model):
            raise Mistake("unknown-feedback", "no label has this feedback_id", "retract")
        if label.model != self._sent.model:
            raise Mistake(
                "other-model", f"the label is of model {label.model!r}: name it as `model`", "retract"
            )
        if label.digest == labels.ERASED:
            raise Mistake("unknown-feedback", "the label was erased", "retract")
        if label.actor != self._sent.actor and not self._sent.operates:
            raise Mistake(
                "foreign-label",
                "another API key brought the label: send a label of your own, or have it taken back by a key "
                "that has the role operate too",
                "retract",
            )
        return replace(
            blank,
            digest=label.digest,
            record=label.record,
            retracts=feedback_id,
            event_id=label.event_id,
            record_id=label.record_id,
        )


def _analyst(item: Item, sent: Submission) -> str:
    try:
        return whose(item.analyst, sent.signed_in, sent.actor)
    except ValueError as error:
        raise Mistake("invalid-label", f"analyst: {error}", "analyst") from None


def _item(raw: object) -> Item:
    try:
        item = msgspec.convert(raw, Item)
    except msgspec.ValidationError as error:
        detail, field = misfit(error, "the item")
        raise Mistake("invalid-label", detail, field) from None
    named = [
        name for name in ("event_id", "record_id", "record", "retract") if getattr(item, name) is not UNSET
    ]
    if len(named) != 1:
        what = " and ".join(named) or "none of them"
        raise Mistake(
            "invalid-label", f"send one of event_id, record_id, record and retract; {what} was sent", None
        )
    if item.retract is not UNSET:
        if item.label is not UNSET or item.class_ or item.comment:
            raise Mistake("invalid-label", "a retraction takes `retract` and `analyst` alone", "retract")
    elif item.label is UNSET:
        raise Mistake("invalid-label", 'label is missing: send "anomaly" or "normal"', "label")
    return item

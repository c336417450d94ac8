"""Analysts' statements: read, bound to a record, checked as a whole, and stored as a whole or not at all."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import sqlalchemy as sa
from msgspec import UNSET, Meta, Struct, UnsetType

from models.canonical import digest
from service import retraining
from service.encode import Encoder
from service.errors import TYPE_PREFIX, Conflict, InvalidRequest, MalformedBody, NotFound
from service.events import EventLog
from service.ids import new_id, now_ms
from service.ledger import audit, events, labels, requests
from service.ledger.clock import tick
from service.ledger.events import Event
from service.ledger.labels import Label, Standing
from service.matching import record_digest
from service.retraining import Rule
from service.wire import Envelope, IndexedProblem

MOST_LABELS = 1_000

Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
Comment = Annotated[str, Meta(max_length=4_000, pattern=r"^[^\x00]*$")]


class Item(Struct, forbid_unknown_fields=True, rename={"class_": "class"}):
    """A label with exactly one of `event_id`, `record_id` and `record`; or `retract` alone."""

    label: Literal["anomaly", "normal"] | UnsetType = UNSET
    event_id: Name | UnsetType = UNSET
    record_id: Name | int | UnsetType = UNSET
    record: dict[str, Any] | UnsetType = UNSET
    retract: Name | UnsetType = UNSET
    analyst: Name | None = None
    class_: Name | None = None
    comment: Comment | None = None


class FeedbackRequest(Struct, forbid_unknown_fields=True):
    labels: Annotated[list[Any], Meta(min_length=1, max_length=MOST_LABELS)]
    model: str = "default"


class Receipt(Struct, omit_defaults=True):
    """`conflicts_with`: standing labels of other analysts that say the opposite."""

    feedback_id: str
    status: Literal["stored", "waiting", "learned", "superseded", "retracted", "erased"]
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


class Mistake(Exception):
    """One item does not fit: which kind of mistake, what and how to mend it, and the field."""

    TITLES: ClassVar = {
        "invalid-label": "The label does not fit",
        "unknown-event": "No such event is kept",
        "unknown-feedback": "No such feedback",
        "other-model": "It belongs to another model",
        "invalid-record": "The record does not fit the model",
        "contradiction": "The request contradicts itself",
        "already-retracted": "The label was retracted before",
    }

    def __init__(self, name: str, detail: str, field: str | None = None) -> None:
        super().__init__(detail)
        self.name, self.detail, self.field = name, detail, field

    def at(self, index: int) -> dict[str, object]:
        problem = IndexedProblem(
            index, TYPE_PREFIX + self.name, self.TITLES[self.name], self.detail, self.field
        )
        found: dict[str, object] = msgspec.to_builtins(problem)
        return found


@dataclass(frozen=True)
class Submission:
    """A request as it was sent. `actor` is the API key's name; `key` the Idempotency-Key, if any."""

    model: str
    items: list[Any]
    body_digest: str
    actor: str
    key: str | None


@dataclass(frozen=True)
class Accepted:
    answer: dict[str, Any]
    standings: list[Standing]


def read(body: bytes, actor: str, key: str | None) -> Submission:
    """Raises MalformedBody, InvalidRequest for the request as a whole; items are looked at in `submit`."""
    if key is not None and not (0 < len(key) <= 255 and key.isprintable()):
        raise InvalidRequest("Idempotency-Key: send 1 to 255 printable characters", field="Idempotency-Key")
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MalformedBody('the body is no JSON: send {"labels": [...]}') from None
    try:
        request = msgspec.convert(document, FeedbackRequest)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        field = path.rstrip("`").lstrip(".") or None
        raise InvalidRequest(f"{field or 'the body'}: {message}", field=field) from None
    return Submission(request.model, request.labels, digest(document), actor, key)


def submit(
    connection: sa.Connection,
    sent: Submission,
    log: EventLog,
    encoder: Callable[[str], Encoder],
    rule: Rule,
) -> Accepted:
    """Store every item, or none. Raises InvalidRequest with one error an item, or Conflict for its key."""
    change = tick(connection, "labels")
    if sent.key is not None and (before := requests.find(connection, sent.actor, sent.key)):
        if before.body != sent.body_digest:
            raise Conflict(
                "this Idempotency-Key was used with another body: take a new key for a new request",
                field="Idempotency-Key",
            )
        return Accepted(before.answer, [])
    statements = _statements(connection, sent, log, encoder(sent.model))
    labels.append(connection, change, statements)
    said = labels.about(connection, sent.model, {s.digest for s in statements})
    receipts = [
        Receipt(s.feedback_id, "stored", conflicts_with=_opponents(s, said[s.digest])) for s in statements
    ]
    answer = {
        "receipts": msgspec.to_builtins(receipts),
        "retraining": retraining.labelled(connection, sent.model, rule, sent.actor),
    }
    ids = [s.feedback_id for s in statements]
    audit.note(connection, sent.actor, "label", sent.model, feedback_ids=ids)
    if sent.key is not None:
        requests.remember(connection, sent.actor, sent.key, sent.body_digest, answer, now_ms())
    return Accepted(answer, labels.changed_since(connection, sent.model, change - 1))


def receipt(connection: sa.Connection, feedback_id: str) -> Receipt:
    """Raises NotFound."""
    label = labels.find(connection, feedback_id) if "\0" not in feedback_id else None
    if label is None:
        raise NotFound(f"no feedback {feedback_id[:60]!r} was ever stored", field="feedback_id")
    said = labels.about(connection, label.model, [label.digest]).get(label.digest, [])
    return Receipt(
        feedback_id,
        _status(label, said),
        label=label.label if label.label != "retract" else None,
        retracts=label.retracts,
        analyst=label.analyst,
        event_id=label.event_id,
        record_id=label.record_id,
        conflicts_with=_opponents(label, said),
        job_id=label.job_id,
        model_version=label.model_version,
        score_before=label.score_before,
        score_after=label.score_after,
        score_held_out=label.score_held_out,
    )


def _status(
    label: Label, said: list[Label]
) -> Literal["waiting", "learned", "superseded", "retracted", "erased"]:
    if label.digest == labels.ERASED:
        return "erased"
    if label.label != "retract":
        if any(other.retracts == label.feedback_id for other in said):
            return "retracted"
        if label not in labels.standing(said):
            return "superseded"
    return "learned" if label.job_id else "waiting"


def _opponents(label: Label, said: list[Label]) -> list[str] | None:
    stand = labels.standing(said)
    if label not in stand:
        return None
    return [other.feedback_id for other in stand if other.label != label.label] or None


def _statements(connection: sa.Connection, sent: Submission, log: EventLog, encoder: Encoder) -> list[Label]:
    binder = _Binder(connection, sent, log, encoder)
    statements: list[Label] = []
    errors: list[dict[str, object]] = []
    said: dict[tuple[str, str], tuple[int, str]] = {}
    for index, raw in enumerate(sent.items):
        try:
            statement = binder.bind(raw)
            if statement.label != "retract":
                first = said.setdefault((statement.analyst, statement.digest), (index, statement.label))
                if first[1] != statement.label:
                    detail = (
                        f"labels {first[0]} and {index} call the same record {first[1]} and {statement.label}"
                    )
                    raise Mistake("contradiction", f"{detail}: send one of them", "label")
            statements.append(statement)
        except Mistake as mistake:
            errors.append(mistake.at(index))
    if errors:
        raise InvalidRequest(
            f"{len(errors)} of {len(sent.items)} labels do not fit, so none was stored", errors=errors
        )
    return statements


class _Binder:
    """Finds what each item speaks of."""

    def __init__(self, connection: sa.Connection, sent: Submission, log: EventLog, encoder: Encoder) -> None:
        self._connection, self._sent, self._log, self._encoder = connection, sent, log, encoder
        self._taken_back: set[str] = set()

    def bind(self, raw: object) -> Label:
        """Raises Mistake."""
        item = _item(raw)
        blank = Label(
            feedback_id=new_id(),
            at=now_ms(),
            model=self._sent.model,
            digest="",
            label="retract" if item.label is UNSET else item.label,
            record={},
            analyst=item.analyst or self._sent.actor,
            actor=self._sent.actor,
            class_=item.class_,
            comment=item.comment,
        )
        if item.retract is not UNSET:
            return self._retraction(item.retract, blank)
        if item.record is not UNSET:
            record = self._read(item.record)
            return replace(blank, digest=record_digest(record), record=record)
        event = self._event(item)
        return replace(
            blank,
            digest=event.digest,
            record=event.record,
            event_id=event.event_id,
            record_id=event.record_id,
            score_before=event.score,
        )

    def _event(self, item: Item) -> Event:
        if item.event_id is not UNSET:
            event = self._log.waiting(item.event_id) or events.find(self._connection, item.event_id)
            if event is None:
                raise Mistake(
                    "unknown-event", "no such event is kept: send the record itself as `record`", "event_id"
                )
            if event.model != self._sent.model:
                raise Mistake(
                    "other-model", f"the event is of model {event.model!r}: name it as `model`", "event_id"
                )
            return event
        id_, model = str(item.record_id), self._sent.model
        newest = self._log.newest_waiting(model, id_) or events.newest_of(self._connection, model, id_)
        if newest is None:
            raise Mistake(
                "unknown-event",
                "no event with this id is kept (all alerts are, and a sample): send the record as `record`",
                "record_id",
            )
        return newest

    def _read(self, record: dict[str, Any]) -> dict[str, Any]:
        encoded = self._encoder.encode(Envelope(records=[record]))
        if encoded.errors:
            problem = encoded.errors[0]
            raise Mistake("invalid-record", problem.detail, f"record.{problem.field}")
        values = self._encoder.record(encoded, 0)
        if all(value is None for value in values.values()):
            raise Mistake("invalid-record", "the record has no feature that the model knows", "record")
        return values

    def _retraction(self, feedback_id: str, blank: Label) -> Label:
        label = labels.find(self._connection, feedback_id)
        if label is None or label.label == "retract":
            raise Mistake("unknown-feedback", "no label has this feedback_id", "retract")
        if label.model != self._sent.model:
            raise Mistake(
                "other-model", f"the label is of model {label.model!r}: name it as `model`", "retract"
            )
        if label.digest == labels.ERASED:
            raise Mistake("unknown-feedback", "the label was erased", "retract")
        said = labels.about(self._connection, label.model, [label.digest]).get(label.digest, [])
        if feedback_id in self._taken_back or any(other.retracts == feedback_id for other in said):
            raise Mistake("already-retracted", "the label was retracted before", "retract")
        self._taken_back.add(feedback_id)
        return replace(
            blank,
            digest=label.digest,
            record=label.record,
            retracts=feedback_id,
            event_id=label.event_id,
            record_id=label.record_id,
        )


def _item(raw: object) -> Item:
    try:
        item = msgspec.convert(raw, Item)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        field = path.rstrip("`").lstrip(".") or None
        raise Mistake("invalid-label", f"{field or 'the item'}: {message}", field) from None
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

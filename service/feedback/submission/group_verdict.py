"""One verdict on a group of records: as many labels in one request, taken back as one."""

from typing import Annotated, Any, Literal

import sqlalchemy as sa
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from nearnorm.service.access.keyring import Caller
from nearnorm.service.errors import InvalidRequest
from nearnorm.service.feedback.submission.request import (
    MOST_LABELS,
    Comment,
    Name,
    Submission,
    shaped,
)
from nearnorm.service.ids import new_id
from nearnorm.service.ledger.label_history import Label
from nearnorm.service.ledger.seen_lines import SeenLines
from nearnorm.service.ledger.tables.feedback import labels


class GroupVerdict(Struct, forbid_unknown_fields=True, rename={"class_": "class"}):
    """`event_ids` with the `label` that all of them get; or `retract_group`, what such a verdict was answered
    with as `group`. `preview`: tell what it would do, and store nothing."""

    event_ids: Annotated[list[Name], Meta(min_length=1, max_length=MOST_LABELS)] | UnsetType = UNSET
    label: Literal["anomaly", "normal"] | UnsetType = UNSET
    retract_group: Name | UnsetType = UNSET
    model: str = "default"
    analyst: Name | None = None
    class_: Name | None = None
    comment: Comment | None = None
    preview: bool = False


def read(body: bytes, caller: Caller, key: str | None) -> Submission:
    """As POST /feedback would have sent it. Raises MalformedBody, InvalidRequest."""
    document, sent = shaped(body, GroupVerdict, '{"event_ids": [...], "label": "normal"}')
    blank = replace(Submission.of(caller, key, sent.model, document), preview=sent.preview)
    if sent.retract_group is not UNSET:
        if sent.event_ids is not UNSET or sent.label is not UNSET or sent.class_ or sent.comment:
            raise InvalidRequest("retract_group goes alone with `analyst`", field="retract_group")
        return replace(blank, retract_group=sent.retract_group, retracted_by=sent.analyst)
    if sent.event_ids is UNSET:
        raise InvalidRequest(
            "event_ids: name the records, or a verdict as `retract_group`", field="event_ids"
        )
    if sent.label is UNSET:
        raise InvalidRequest('label is missing: send "anomaly" or "normal"', field="label")
    said = {"label": sent.label, "analyst": sent.analyst, "class": sent.class_, "comment": sent.comment}
    items = [{"event_id": event_id, **said} for event_id in dict.fromkeys(sent.event_ids)]
    return replace(blank, items=items, group_id=new_id())


def stands(connection: sa.Connection, group_id: str, lines: SeenLines) -> bool | None:
    """Whether any of a verdict on a group was not taken back; None: there was no such verdict."""
    found = _labels_of(connection, group_id, lines)
    gone = labels.retracted(connection, group_id) if found else set()
    return any(label.feedback_id not in gone for label in found) if found else None


def retractions(
    connection: sa.Connection, group_id: str, analyst: str | None, lines: SeenLines
) -> list[dict[str, Any]]:
    """The items that take back what is left of a verdict. Raises InvalidRequest where nothing is."""
    found = _labels_of(connection, group_id, lines)
    if not found:
        raise InvalidRequest(
            f"no verdict on a group has the id {group_id[:60]!r}: send what it was answered with as `group`",
            field="retract_group",
        )
    gone = labels.retracted(connection, group_id)
    left = [label.feedback_id for label in found if label.feedback_id not in gone]
    if not left:
        raise InvalidRequest("all of this verdict was taken back before", field="retract_group")
    return [{"retract": feedback_id, "analyst": analyst} for feedback_id in left]


def _labels_of(connection: sa.Connection, group_id: str, lines: SeenLines) -> list[Label]:
    """None of a line that is not seen."""
    found = labels.of_group(connection, group_id) if "\0" not in group_id else []
    return [label for label in found if lines.sees(label.model)]

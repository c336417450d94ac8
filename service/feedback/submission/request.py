"""POST /feedback as it is sent: a request, read as a whole; its items are looked at one by one."""

from typing import Annotated, Any, Literal, Self, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from nearnorm.models.canonical import digest
from nearnorm.service.access.keyring import Caller
from nearnorm.service.errors import InvalidRequest, MalformedBody, misfit
from nearnorm.service.ledger.seen_lines import EVERY_LINE, SeenLines
from nearnorm.service.records.limits import ID_CHARACTERS, MOST_DOCUMENT_VALUES, check_values

MOST_LABELS = 1_000
Shape = TypeVar("Shape", bound=Struct)

Name = Annotated[str, Meta(min_length=1, max_length=ID_CHARACTERS, pattern=r"^[^\x00]*$")]
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
    """`preview`: tell what the labels would do, and store nothing."""

    labels: Annotated[list[Any], Meta(min_length=1, max_length=MOST_LABELS)]
    model: str = "default"
    strict: bool = False
    preview: bool = False


class Submission(Struct, frozen=True):
    """A request as it was sent. `actor` is the API key's name, `operates` whether it has the role operate;
    `key` is the Idempotency-Key, if any. `strict`: an unknown field of a record is an error. `signed_in` is
    the analyst who sends it by a session. `preview`: nothing is to be stored. `group_id`: the items are one
    verdict; of `retract_group`, the items are what takes it back. `lines`: what the key is bound to.
    `versions`: those whose reference rows the model's labels may name; None: any."""

    model: str
    items: list[Any]
    body_digest: str
    actor: str
    operates: bool
    key: str | None
    strict: bool = False
    signed_in: str | None = None
    preview: bool = False
    group_id: str | None = None
    retract_group: str | None = None
    retracted_by: str | None = None
    lines: SeenLines = EVERY_LINE
    versions: frozenset[str] | None = None

    @classmethod
    def of(cls, caller: Caller, key: str | None, model: str, document: object) -> Self:
        """One by its sender, who has to fill in the items. Raises InvalidRequest for the Idempotency-Key."""
        if key is not None and not (0 < len(key) <= 255 and key.isprintable()):
            raise InvalidRequest(
                "Idempotency-Key: send 1 to 255 printable characters", field="Idempotency-Key"
            )
        said = document if caller.analyst is None else {"analyst": caller.analyst, "sent": document}
        operates = "operate" in caller.roles
        return cls(
            model, [], digest(said), caller.name, operates, key, signed_in=caller.analyst, lines=caller.lines
        )


def read(body: bytes, caller: Caller, key: str | None) -> Submission:
    """Raises MalformedBody, InvalidRequest for the request as a whole; items are looked at in `feedback`."""
    document, request = shaped(body, FeedbackRequest, '{"labels": [...]}')
    sent = Submission.of(caller, key, request.model, document)
    return replace(sent, items=request.labels, strict=request.strict, preview=request.preview)


def shaped(body: bytes, shape: type[Shape], example: str) -> tuple[object, Shape]:
    """A body as it is and in its shape. Raises MalformedBody, InvalidRequest."""
    check_values(body, MOST_DOCUMENT_VALUES)
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MalformedBody(f"the body is no JSON: send {example}") from None
    try:
        return document, msgspec.convert(document, shape)
    except msgspec.ValidationError as error:
        detail, field = misfit(error)
        raise InvalidRequest(detail, field=field) from None

"""The shapes of /score's requests and answers. A request's rows are typed by the model's schema."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from nearnorm.models.data.schema import Feature, FeatureSchema, Kind
from nearnorm.service.records.limits import ID_CHARACTERS

NAN = float("nan")

Id = Annotated[str, Meta(max_length=ID_CHARACTERS)] | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""Larger numbers could be chosen so that all of them fall into one place of a hash table."""


class Envelope(Struct, forbid_unknown_fields=True, kw_only=True):
    """A request with its rows as plain JSON; `request_type` derives the typed ones."""

    model: Annotated[str, Meta(max_length=ID_CHARACTERS)] = "default"
    records: list[Any] | UnsetType = UNSET
    columns: dict[str, Any] | UnsetType = UNSET
    ids: list[Id] | UnsetType = UNSET
    explain: bool = False
    strict: bool = False


class RowProblem(Struct, omit_defaults=True):
    """Why one row has no score."""

    type: str
    title: str
    detail: str
    field: str | None = None


class Reason(Struct, omit_defaults=True):
    """A feature whose value raises the score, or that the nearest normal group would not have.

    `expected` tells what that group has: low, median and high of a number, shares of a category. `effect` is
    what its replacement by the group's normal value takes from the score's log-odds, `together` the same with
    all reasons before it; `rebuilt` is the share of the reconstruction error that goes with it.
    """

    feature: str
    value: float | str | bool | None
    expected: dict[str, Any]
    residual: float
    usual_residual: float
    effect: float
    together: float
    rebuilt: float


class Matched(Struct, omit_defaults=True):
    """What analysts said about an equal record. A conflict among them decides nothing.

    `suppressed`: the alert was held back; `suppresses_until`: how long equal ones will be.
    """

    feedback_id: str
    label: str
    suppressed: bool = False
    suppresses_until: str | None = None


class Result(Struct, gc=False):  # one a row, and nothing in it leads back to it
    """The answer to one row. What is unset is left out."""

    score: float
    percentile: float
    anomaly: bool
    prototype: int
    distance: float
    reconstruction_error: float
    id: Id | UnsetType = UNSET
    event_id: str | UnsetType = UNSET
    imputed: list[str] | UnsetType = UNSET
    unknown: list[str] | UnsetType = UNSET
    novel: list[str] | UnsetType = UNSET
    novel_distance: bool | UnsetType = UNSET
    reasons: list[Reason] | UnsetType = UNSET
    matched_feedback: Matched | UnsetType = UNSET


class Failure(Struct):
    error: RowProblem
    id: Id | UnsetType = UNSET


class IndexedProblem(Struct, omit_defaults=True):
    """A row's error in an answer of columns; `id` where ids were given."""

    index: int
    type: str
    title: str
    detail: str
    field: str | None = None
    id: Id | None = None


class ResultColumns(Struct, omit_defaults=True):
    """Answers as columns, in the order sent; null where a row has an error.

    `imputed`, `unknown` and `novel` give the rows by feature, `novel_distance` those far from everything.
    """

    score: list[float | None]
    percentile: list[float | None]
    anomaly: list[bool | None]
    prototype: list[int | None]
    distance: list[float | None]
    reconstruction_error: list[float | None]
    id: list[Id | None] | None = None
    event_id: list[str | None] | None = None
    imputed: dict[str, list[int]] | None = None
    unknown: dict[str, list[int]] | None = None
    novel: dict[str, list[int]] | None = None
    novel_distance: list[int] | None = None
    reasons: list[list[Reason] | None] | None = None
    matched_feedback: list[Matched | None] | None = None


class ModelRef(Struct):
    name: str
    version: str


class Answer(Struct, omit_defaults=True):
    """`groups`: how the nearest normal groups look, by prototype, when reasons were asked for."""

    model: ModelRef
    provider: str
    results: list[Result | Failure] | ResultColumns
    errors: list[IndexedProblem] | None = None
    groups: dict[str, Any] | None = None
    warnings: list[str] | None = None


_SCHEMAS = 1_024
"""Schemas whose types are kept: types go with a full garbage collection only, which a service that is well
does not come to for hours, and a model may be loaded again and again."""


def _json_type(feature: Feature) -> object:
    if feature.kind is Kind.NUMERIC:
        return float | None
    if feature.kind is Kind.BOOLEAN:
        return bool | None
    if feature.kind is Kind.TIME:
        return str | int | float | None
    return str | None


_UNWORDED = re.compile(r'[\x00-\x1f"\\]')


def row_fields(schema: FeatureSchema) -> tuple[Feature, ...]:
    """The fields of a typed row, in order: numbers first, then categories, then what is ignored."""
    return schema.scored + schema.ignored


@lru_cache(_SCHEMAS)
def record_type(schema: FeatureSchema) -> type[Struct] | None:
    """A record, decoded straight into the schema's types: a missing number is NAN, a missing category None.

    Feature names need not be identifiers; None where msgspec has no word for one (a line break, a quotation
    mark).
    """
    features = row_fields(schema)
    if any(_UNWORDED.search(feature.name) for feature in features):
        return None
    fields: list[tuple[str, Any, Any]] = []
    for i, feature in enumerate(features):
        if feature.kind.scored:
            fields.append((f"f{i}", _json_type(feature), None if feature in schema.categorical else NAN))
        else:
            fields.append((f"f{i}", msgspec.Raw | UnsetType, UNSET))
    return msgspec.defstruct("Record", fields, rename=_names(features), forbid_unknown_fields=True, gc=False)


@lru_cache(_SCHEMAS)
def request_type(schema: FeatureSchema, record: type[Struct] | None) -> type[Envelope]:
    """An Envelope whose records are of the type `record`, its columns typed as that one's fields are; without
    one, rows are read as plain JSON."""
    if record is None:
        return Envelope
    features = row_fields(schema)
    columns: list[tuple[str, Any, Any]] = []
    for i, feature in enumerate(features):
        kind = list[_json_type(feature)] if feature.kind.scored else msgspec.Raw  # type: ignore[misc]
        columns.append((f"f{i}", kind | UnsetType, UNSET))
    columns_type = msgspec.defstruct("Columns", columns, rename=_names(features), forbid_unknown_fields=True)
    request: type[Envelope] = msgspec.defstruct(  # type: ignore[assignment]
        "Request",
        [
            ("records", list[record] | UnsetType, UNSET),  # type: ignore[valid-type]
            ("columns", columns_type | UnsetType, UNSET),
        ],
        bases=(Envelope,),
        forbid_unknown_fields=True,
        kw_only=True,
    )
    return request


def _names(features: Sequence[Feature]) -> dict[str, str]:
    return {f"f{i}": feature.name for i, feature in enumerate(features)}

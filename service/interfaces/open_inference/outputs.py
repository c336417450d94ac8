"""Tensors out: one for each output by name, a value for each row in the order sent.

JSON has no NaN, so the numbers of a row that has none are null, its verdict false and its prototype -1.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from nearnorm.service.errors import InvalidRequest
from nearnorm.service.interfaces.open_inference.on_request import ON_REQUEST, values_of
from nearnorm.service.interfaces.open_inference.shapes import (
    Datatype,
    InferRequest,
    InferResponse,
    OutputTensor,
)
from nearnorm.service.records.encoded import Encoded
from nearnorm.service.records.limits import shortened
from nearnorm.service.scoring.answer_parts import Reasons, Remembered
from nearnorm.service.scoring.json_answer import spreader
from nearnorm.service.serving.facts import ModelFacts
from nearnorm.service.serving.results import Scores

DEFAULT: Mapping[str, Datatype] = {
    "score": "FP64",
    "percentile": "FP64",
    "anomaly": "BOOL",
    "prototype": "INT64",
    "distance": "FP64",
    "reconstruction_error": "FP64",
}
"""What is answered where no output is asked for."""
_DATATYPES = {**DEFAULT, **ON_REQUEST}
_OF_NO_SCORE: Mapping[str, object] = {"anomaly": False, "prototype": -1}
_MOST_ERRORS = 20
"""Rows whose errors a refusal tells one by one."""


class AskedOutputs(Struct):
    """`outputs` in the order in which they are answered."""

    id: str | None
    outputs: tuple[str, ...]
    explain: bool

    @property
    def takes_errors(self) -> bool:
        """Whether rows that fit are scored where others do not."""
        return "error" in self.outputs


def asked_by(request: InferRequest) -> AskedOutputs:
    """Raises InvalidRequest for an output that there is not."""
    names = [output.name for output in request.outputs or ()]
    strange = next((name for name in names if name not in _DATATYPES), None)
    if strange is not None:
        raise InvalidRequest(
            f"there is no output {shortened(strange)!r}: there are {', '.join(_DATATYPES)}", field="outputs"
        )
    wanted = dict.fromkeys(names or DEFAULT)
    if flag(request, "explain"):
        wanted["reasons"] = None
    return AskedOutputs(request.id, tuple(wanted), "reasons" in wanted)


def flag(request: InferRequest, name: str) -> bool:
    """A parameter of the request that is true or false. Raises InvalidRequest."""
    value = (request.parameters or {}).get(name, False)
    if not isinstance(value, bool):
        raise InvalidRequest(f"parameters.{name}: give true or false", field=f"parameters.{name}")
    return value


def answered(
    facts: ModelFacts,
    asked: AskedOutputs,
    encoded: Encoded,
    scores: Scores | None,
    noted: Remembered,
    reasons: Reasons | None,
) -> InferResponse:
    """Raises InvalidRequest where a row does not fit and errors were not asked for."""
    if encoded.errors and not asked.takes_errors:
        raise _refusal(encoded)
    tensors = []
    for name in asked.outputs:
        if name in ON_REQUEST:
            values = values_of(name, facts, encoded, scores, noted, reasons)
        else:
            values = spreader(encoded, _OF_NO_SCORE.get(name))(getattr(scores, name) if scores else [])
        tensors.append(OutputTensor(name, [encoded.count], _DATATYPES[name], values))
    warnings = encoded.remarks
    if reasons is not None and reasons.warning:
        warnings = [*warnings, reasons.warning]
    parameters = {"warnings": "\n".join(warnings)} if warnings else None
    return InferResponse(facts.ref.name, facts.ref.version, tensors, asked.id, parameters)


def _refusal(encoded: Encoded) -> InvalidRequest:
    """The protocol knows no error of a row: the request is refused for those that do not fit."""
    errors = sorted(encoded.errors.items())
    place, first = errors[0]
    told: list[dict[str, Any]] = [
        {"index": place, "type": one.type, "title": one.title, "detail": one.detail, "field": one.field}
        for place, one in errors[:_MOST_ERRORS]
    ]
    return InvalidRequest(
        f"{len(errors)} of {encoded.count} rows cannot be scored, and none was; row {place}: {first.detail}. "
        "Mend them, or ask for the output `error` too: then the others are scored",
        field=first.field,
        errors=told,
    )

"""The codec of the protocol: a body into rows, rows into an answer, here and in the bulk process."""

import msgspec

from nearnorm.service.interfaces.open_inference import outputs, tensors
from nearnorm.service.interfaces.open_inference.outputs import AskedOutputs
from nearnorm.service.interfaces.open_inference.shapes import InferRequest
from nearnorm.service.records.encoded import Encoded
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.scoring.answer_parts import Reasons, Remembered
from nearnorm.service.serving.facts import ModelFacts
from nearnorm.service.serving.results import Scores

_encode = msgspec.json.Encoder().encode


def read(body: bytes, encoder: Encoder) -> tuple[AskedOutputs, Encoded]:
    """Raises MalformedBody, InvalidRequest, TooManyRows, BodyTooLarge."""
    return encoded(tensors.decode(body), encoder)


def encoded(request: InferRequest, encoder: Encoder) -> tuple[AskedOutputs, Encoded]:
    """A decoded body. Where a row does not fit and errors were not asked for, no row is left to be scored:
    `write` refuses the request then. Raises InvalidRequest, TooManyRows."""
    asked, found = outputs.asked_by(request), tensors.encode(request, encoder)
    if found.errors and not asked.takes_errors:
        found.rows, found.kept = found.rows.take([]), []
    return asked, found


def write(
    facts: ModelFacts,
    asked: AskedOutputs,
    encoded: Encoded,
    scores: Scores | None,
    noted: Remembered,
    reasons: Reasons | None,
) -> bytes:
    """Raises InvalidRequest for the rows that do not fit, where errors were not asked for."""
    return _encode(outputs.answered(facts, asked, encoded, scores, noted, reasons))

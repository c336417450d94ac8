"""JSON lines in and out of /score: a record a line, and a line of answer for each."""

import msgspec

from nearnorm.service.records.encoded import Encoded
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.records.shapes import Envelope
from nearnorm.service.scoring.answer_parts import Reasons, Remembered
from nearnorm.service.scoring.json_answer import all_warnings, row_results
from nearnorm.service.serving.facts import ModelFacts
from nearnorm.service.serving.results import Scores

_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines


def read(body: bytes, encoder: Encoder) -> tuple[Envelope, Encoded]:
    """What a body asks for, which is told beside it, and its rows. Raises as `encode_lines` does."""
    return Envelope(), encoder.encode_lines(body)


def write(
    facts: ModelFacts,
    _: Envelope,
    encoded: Encoded,
    scores: Scores | None,
    noted: Remembered,
    reasons: Reasons | None,
) -> bytes:
    """As JSON's results, a line each. What is to be said of the whole body is in the first one."""
    lines = _encode_lines(row_results(facts, encoded, scores, reasons, noted))
    warnings = all_warnings(encoded, reasons)
    if not warnings:
        return lines
    first, _end, rest = lines.partition(b"}\n")
    return b'%b,"warnings":%b}\n%b' % (first, _encode(warnings), rest)

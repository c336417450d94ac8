"""Outputs that are answered where they are asked for by name: what else /score tells of a row.

What is a list or an object in /score's answer is its JSON here, as a text.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from nearnorm.service.interfaces.open_inference.shapes import Datatype
from nearnorm.service.records.encoded import Encoded
from nearnorm.service.scoring.answer_parts import Reasons, Remembered
from nearnorm.service.scoring.json_answer import novel_places
from nearnorm.service.serving.facts import ModelFacts
from nearnorm.service.serving.results import Scores

_TEXTS = ("id", "event_id")
_LISTS = ("imputed", "unknown", "novel")
_OBJECTS = ("reasons", "matched_feedback", "error")
ON_REQUEST: Mapping[str, Datatype] = {
    **dict.fromkeys((*_TEXTS, *_LISTS), "BYTES"),
    "novel_distance": "BOOL",
    **dict.fromkeys(_OBJECTS, "BYTES"),
}
_ABSENT: Mapping[str, Any] = {
    **dict.fromkeys((*_TEXTS, *_OBJECTS), ""),
    **dict.fromkeys(_LISTS, "[]"),
    "novel_distance": False,
}
_encode = msgspec.json.Encoder().encode


def values_of(
    name: str,
    facts: ModelFacts,
    encoded: Encoded,
    scores: Scores | None,
    noted: Remembered,
    reasons: Reasons | None,
) -> list[Any]:
    """One of ON_REQUEST, a value for each row sent."""
    found = _found(name, facts, encoded, scores, noted, reasons)
    if name in _LISTS or name in _OBJECTS:
        found = {place: _encode(value).decode() for place, value in found.items()}
    return [found.get(place, _ABSENT[name]) for place in range(encoded.count)]


def _found(
    name: str,
    facts: ModelFacts,
    encoded: Encoded,
    scores: Scores | None,
    noted: Remembered,
    reasons: Reasons | None,
) -> Mapping[int, Any]:
    """By the place of a row."""
    places = encoded.places()
    match name:
        case "id":
            return {place: str(one) for place, one in enumerate(encoded.ids or ()) if one is not None}
        case "event_id":
            return {places[row]: event_id for row, event_id in noted.event_ids.items()}
        case "imputed":
            return encoded.imputed
        case "unknown":
            return {place: list(texts) for place, texts in encoded.unknown.items()}
        case "novel":
            return {place: names for place, (names, _) in novel_places(facts, encoded, scores).items()}
        case "novel_distance":
            return {place: far for place, (_, far) in novel_places(facts, encoded, scores).items()}
        case "matched_feedback":
            return {places[row]: matched for row, matched in noted.matched.items()}
        case "reasons":
            return {places[row]: given for row, given in (reasons.by_row if reasons else {}).items()}
        case _:
            return encoded.errors

"""What /score answers in the OpenAPI document, by the shapes that are sent: generated clients are typed."""

from typing import Any

import msgspec

from nearnorm.service.records import shapes

_REFERENCE = "#/components/schemas/Score{name}"
_MESSAGES = (
    shapes.ModelRef,
    shapes.Result,
    shapes.Failure,
    shapes.ResultColumns,
    shapes.IndexedProblem,
)


def schemas() -> dict[str, Any]:
    """The answer and its parts, by the names that they refer to each other by."""
    _, found = msgspec.json.schema_components(_MESSAGES, ref_template=_REFERENCE)
    for schema in found.values():
        _tidy(schema)
    found["Answer"] = {
        "type": "object",
        "description": "Scores in the order sent. `groups`: how the nearest normal groups look, by "
        "prototype, when reasons were asked for.",
        "required": ["model", "provider", "results"],
        "properties": {
            "model": reference("ModelRef"),
            "provider": {"type": "string"},
            "results": {
                "anyOf": [
                    {
                        "type": "array",
                        "description": "Of records: a scored row, or why it has no score.",
                        "items": {"anyOf": [reference("Result"), reference("Failure")]},
                        "minItems": 1,
                    },
                    reference("ResultColumns"),
                ]
            },
            "errors": {"type": "array", "items": reference("IndexedProblem")},
            "groups": {"type": "object", "additionalProperties": {"type": "object"}},
            "warnings": {"type": "array", "items": {"type": "string"}},
        },
    }
    return {f"Score{name}": schema for name, schema in found.items()}


def reference(name: str) -> dict[str, str]:
    """Of one of the answer's parts by its name."""
    return {"$ref": _REFERENCE.format(name=name)}


def _tidy(schema: dict[str, Any]) -> None:
    """What is at its default is left out of an answer: a client finds neither null nor a default."""
    del schema["title"]
    for name, kind in schema["properties"].items():
        if kind.pop("default", ...) is None:
            kinds = [one for one in kind["anyOf"] if one != {"type": "null"}]
            schema["properties"][name] = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}

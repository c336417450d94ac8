"""/score in the OpenAPI document, with an example that runs: the serving model's own golden record."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from models.schema import FIRST_CODE, MISSING_CODE, UNKNOWN_CODE, Feature, Kind
from service.errors import PROBLEM
from service.slots import LoadedModel, Slots

_ANSWER = {
    "type": "object",
    "required": ["model", "provider", "results"],
    "properties": {
        "model": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "version": {"type": "string"}},
        },
        "provider": {"type": "string"},
        "results": {"type": ["array", "object"]},
        "errors": {"type": "array", "items": {"type": "object"}},
        "groups": {"type": "object"},
        "warnings": {"type": "array", "items": {"type": "string"}},
    },
}
_PROBLEMS = {
    "400": "The body is no JSON",
    "404": "No such model",
    "413": "Too many rows or bytes",
    "415": "The content type is not supported",
    "422": "A field of the request does not fit",
    "429": "The queue is full; see Retry-After",
    "503": "No model is loaded, or the request waited too long",
}


def with_score(app: FastAPI, slots: Slots) -> Callable[[], dict[str, Any]]:
    """FastAPI's document, and POST /score as the models in memory take it."""

    def document() -> dict[str, Any]:
        found = get_openapi(title=app.title, version=app.version, routes=app.routes)
        found["paths"]["/score"] = {"post": _operation(slots.loaded().get("default"))}
        return found

    return document


def _operation(model: LoadedModel | None) -> dict[str, Any]:
    record: dict[str, Any] = {"type": "object"}
    examples: dict[str, Any] = {}
    if model is not None:
        features = model.manifest.core.features.features
        record["properties"] = {f.name: _property(f) for f in features}
        sample = example_record(model)
        examples = {
            "records": {"value": {"records": [sample], "ids": ["first"], "explain": True}},
            "columns": {"value": {"columns": {name: [value, value] for name, value in sample.items()}}},
        }
    body = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "model": {"type": "string", "default": "default"},
            "records": {"type": "array", "minItems": 1, "items": record},
            "columns": {"type": "object", "additionalProperties": {"type": "array"}},
            "ids": {"type": "array", "items": {"type": ["string", "integer"]}},
            "explain": {"type": "boolean", "default": False},
            "strict": {"type": "boolean", "default": False},
        },
    }
    responses: dict[str, Any] = {
        "200": {
            "description": "Scores in the order sent",
            "content": {"application/json": {"schema": _ANSWER}},
        }
    }
    for status, description in _PROBLEMS.items():
        responses[status] = {"description": description, "content": {PROBLEM: {"schema": {"type": "object"}}}}
    return {
        "tags": ["scoring"],
        "summary": "Score records: how far is each from every kind of normal?",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": body, "examples": examples}},
        },
        "responses": responses,
    }


def _property(feature: Feature) -> dict[str, Any]:
    if feature.kind is Kind.IGNORED:
        return {"description": f"accepted and not used: {feature.reason}"}
    kind = {Kind.NUMERIC: "number", Kind.BOOLEAN: "boolean", Kind.CATEGORICAL: "string"}[feature.kind]
    return {"type": [kind, "null"] if feature.nullable else kind}


def example_record(model: LoadedModel) -> dict[str, Any]:
    """The golden record with the fewest gaps, as a caller would send it."""
    core = model.manifest.core
    golden = core.golden
    gaps = [
        numeric.count(None) + codes.count(MISSING_CODE) + codes.count(UNKNOWN_CODE)
        for numeric, codes in zip(golden.numeric, golden.codes, strict=True)
    ]
    fullest = gaps.index(min(gaps))
    sample: dict[str, Any] = {}
    for f, number in zip(core.features.numeric, golden.numeric[fullest], strict=True):
        sample[f.name] = bool(number) if f.kind is Kind.BOOLEAN and number is not None else number
    for f, code in zip(core.features.categorical, golden.codes[fullest], strict=True):
        sample[f.name] = f.categories[code - FIRST_CODE] if code >= FIRST_CODE else None
    return sample

"""The OpenAPI document: FastAPI's, /score as the models in memory take it, every problem, and links."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from nearnorm.models.schema import FIRST_CODE, MISSING_CODE, UNKNOWN_CODE, Feature, Kind
from nearnorm.service.api.openapi.links import link
from nearnorm.service.errors import PROBLEM
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.serving.registry import Registry
from nearnorm.service.settings import Settings

_REF = {"type": "string"}
_ID = {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}]}
_ANSWER = {
    "type": "object",
    "required": ["model", "provider", "results"],
    "properties": {
        "model": {
            "type": "object",
            "required": ["name", "version"],
            "properties": {"name": _REF, "version": _REF},
        },
        "provider": {"type": "string"},
        "results": {
            "anyOf": [
                {"type": "array", "items": {"type": "object"}, "minItems": 1},
                {"type": "object", "additionalProperties": {"type": ["array", "object"]}},
            ]
        },
        "errors": {
            "type": "array",
            "items": {"type": "object", "required": ["index", "type", "title", "detail"]},
        },
        "groups": {"type": "object"},
        "warnings": {"type": "array", "items": {"type": "string"}},
    },
}
_PROBLEM = {
    "type": "object",
    "description": "RFC 9457; `field` and `errors` name what to mend.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "pattern": "^urn:nearnorm:problem:[a-z-]+$"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "field": {"type": "string"},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}
_TOLD = {
    "400": "The body cannot be read",
    "401": "A valid API key is needed",
    "403": "The API key lacks the role",
    "404": "There is nothing of this name",
    "409": "It does not go with what is there",
    "413": "Too many rows or bytes",
    "415": "The content type is not supported",
    "422": "A field of the request does not fit",
    "429": "More than the caller's limit, or the queue is full; see Retry-After",
    "503": "No model is loaded, the ledger is away, or the request waited too long",
}


def with_score(app: FastAPI, registry: Registry, settings: Settings) -> Callable[[], dict[str, Any]]:
    """FastAPI's document, and POST /score as the models in memory take it."""

    def document() -> dict[str, Any]:
        found = get_openapi(title=app.title, version=app.version, routes=app.routes)
        found["paths"]["/score"] = {"post": _operation(registry.loaded().get("default"), settings.max_rows)}
        schemas = found["components"]["schemas"]
        for unused in ("HTTPValidationError", "ValidationError"):  # errors are problems here
            schemas.pop(unused, None)
        schemas["Problem"] = _PROBLEM
        for path, operations in found["paths"].items():
            for method, operation in operations.items():
                _tell_problems(path, method, operation)
        link(found["paths"])
        return found

    return document


def _tell_problems(path: str, method: str, operation: dict[str, Any]) -> None:
    """What a request may be answered with, beside what its route returns."""
    responses = operation["responses"]
    responses.pop("422", None)
    if "security" not in operation:
        return
    body, named = "requestBody" in operation, "{" in path
    asks = body or named or any(p["in"] == "query" for p in operation.get("parameters", []))
    statuses = ["401", "403", "429", "503"]
    statuses += ["400", "413"] if body else []
    statuses += ["422", *(["404"] if asks else [])]
    statuses += ["409"] if method != "get" or named else []
    statuses += ["415"] if path == "/score" else []
    for status in sorted(statuses):
        responses[status] = {
            "description": _TOLD[status],
            "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }


def _operation(model: LoadedModel | None, max_rows: int) -> dict[str, Any]:
    record: dict[str, Any] = {"type": "object"}
    column: dict[str, Any] = {"type": "object", "minProperties": 1, "additionalProperties": {"type": "array"}}
    examples: dict[str, Any] = {}
    if model is not None:
        features = model.manifest.core.features.features
        record["properties"] = {f.name: _property(f) for f in features}
        bounds = {"type": "array", "minItems": 1, "maxItems": max_rows}
        column["properties"] = {f.name: {**bounds, "items": _property(f)} for f in features}
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
            "records": {"type": "array", "minItems": 1, "maxItems": max_rows, "items": record},
            "columns": column,
            "ids": {"type": "array", "uniqueItems": True, "items": _ID},
            "explain": {"type": "boolean", "default": False},
            "strict": {"type": "boolean", "default": False},
        },
        "oneOf": [{"required": ["records"]}, {"required": ["columns"]}],
    }
    return {
        "tags": ["scoring"],
        "operationId": "score",
        "summary": "Score records: how far is each from every kind of normal?",
        "description": "A row whose values do not fit has an error of its own in the answer.",
        "security": [{"HTTPBearer": []}, {"APIKeyHeader": []}],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": body, "examples": examples}},
        },
        "responses": {
            "200": {
                "description": "Scores in the order sent",
                "content": {"application/json": {"schema": _ANSWER}},
            }
        },
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

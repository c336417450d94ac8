"""The OpenAPI document: FastAPI's, /score as the models in memory take it, every problem, and links."""

import re
import threading
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.routing import compile_path

from nearnorm.models.data.schema import Feature, Kind
from nearnorm.models.store.folder import DEFAULT_MODEL
from nearnorm.service.api.openapi import score_answer
from nearnorm.service.api.openapi.examples import add_examples, label_of, with_example
from nearnorm.service.api.openapi.links import link
from nearnorm.service.errors import PROBLEM
from nearnorm.service.http.body import NDJSON
from nearnorm.service.ledger.seen_lines import SeenLines
from nearnorm.service.serving.example import example_record
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.serving.registry import Registry
from nearnorm.service.settings import Settings

_ID = {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}]}
_SCORE = {
    "tags": ["scoring"],
    "operationId": "score",
    "summary": "Score records: how far is each from every kind of normal?",
    "description": "A row whose values do not fit has an error of its own in the answer.",
    "security": [{"HTTPBearer": []}, {"APIKeyHeader": []}],
}
_SCORES = {
    "200": {
        "description": "Scores in the order sent",
        "content": {
            "application/json": {"schema": score_answer.reference("Answer")},
            NDJSON.decode(): {"schema": {"type": "string", "description": "A result a line."}},
        },
    }
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
_MEANINGS = {
    "400": "The body cannot be read",
    "401": "A valid API key is needed, or a session that lasts",
    "403": "The API key lacks the role, or the session's token is not there",
    "404": "There is nothing of this name",
    "409": "It does not go with what is there",
    "413": "Too many rows or bytes",
    "415": "The content type is not supported",
    "422": "A field of the request does not fit",
    "429": "More than the caller's limit, or the queue is full; see Retry-After",
    "503": "No model is loaded, the ledger is away, or the request waited too long",
}


class Described(NamedTuple):
    """Paths with their operations, the schemas that they refer to by name, and what may be posted to them."""

    paths: dict[str, Any]
    schemas: dict[str, Any]
    bodies: Callable[[LoadedModel], dict[str, Any]]
    """An example by path, as a model reads it."""


class Document:
    """The document, and the methods of a path by it. The routes are described once, /score once a model.

    Describing the routes takes a tenth of a second: whoever is in the event loop asks in another thread.
    """

    def __init__(
        self, app: FastAPI, registry: Registry, settings: Settings, beside: Callable[[], Described]
    ) -> None:
        """`beside`: what other protocols answer, which is no route of `app`'s."""
        self._app = app
        self._beside = beside
        self._registry = registry
        self._max_rows = settings.max_rows
        self._lock = threading.Lock()
        self._version: str | None = None
        self._written = b""

    def __call__(self) -> dict[str, Any]:
        """FastAPI's document, and POST /score as the default model in memory takes it."""
        return self._of(self._registry.loaded().get(DEFAULT_MODEL))

    def as_json(self, lines: SeenLines) -> bytes:
        """As whoever sees these models is told: without examples of the default one, where it is none of
        them."""
        model = self._registry.loaded().get(DEFAULT_MODEL) if lines.sees(DEFAULT_MODEL) else None
        version = model.ref.version if model else ""
        with self._lock:
            if self._version != version:
                self._written, self._version = msgspec.json.encode(self._of(model)), version
            return self._written

    def methods_of(self, path: str) -> list[str]:
        """What a path answers. A path without a parameter goes before one with, as in the document."""
        matching = [template for template, pattern in self._patterns.items() if pattern.match(path)]
        template = path if path in matching else next(iter(matching), None)
        methods = {method.upper() for method in self._routes["paths"].get(template, ())}
        return sorted(methods | {"HEAD"} if "GET" in methods else methods)

    def _of(self, model: LoadedModel | None) -> dict[str, Any]:
        paths = self._routes["paths"]
        score = {**paths["/score"]["post"], "requestBody": _score_body(model, self._max_rows)}
        by_model: dict[str, Any] = {"/score": {"post": score}}
        if model is not None:
            label = label_of(example_record(model.manifest.core))
            for path, body in {"/feedback": label, **self._others.bodies(model)}.items():
                by_model[path] = with_example(paths[path], body)
        return {**self._routes, "paths": paths | by_model}

    @cached_property
    def _routes(self) -> dict[str, Any]:
        app = self._app
        found = get_openapi(title=app.title, version=app.version, routes=app.routes)
        found["paths"]["/score"] = {"post": {**_SCORE, "requestBody": {}, "responses": dict(_SCORES)}}
        schemas = found["components"]["schemas"]
        for unused in ("HTTPValidationError", "ValidationError"):  # errors are problems here
            schemas.pop(unused, None)
        schemas["Problem"] = _PROBLEM
        schemas |= score_answer.schemas()
        for path, operations in found["paths"].items():
            for method, operation in operations.items():
                _add_problems(path, method, operation)
        link(found["paths"])
        add_examples(found["paths"])
        found["paths"] |= self._others.paths
        schemas |= self._others.schemas
        return found

    @cached_property
    def _others(self) -> Described:
        return self._beside()

    @cached_property
    def _patterns(self) -> dict[str, re.Pattern[str]]:
        return {template: compile_path(template)[0] for template in self._routes["paths"]}


def _add_problems(path: str, method: str, operation: dict[str, Any]) -> None:
    """What a request may be answered with, beside what its route returns."""
    responses = operation["responses"]
    responses.pop("422", None)
    if "security" not in operation and "requestBody" not in operation:
        return
    body, named = "requestBody" in operation, "{" in path
    asks = body or named or any(p["in"] == "query" for p in operation.get("parameters", []))
    statuses = ["401", "403", "429", "503"]
    statuses += ["400", "413"] if body else []
    statuses += ["422", *(["404"] if asks else [])]
    statuses += ["409"] if method != "get" or named else []
    statuses += ["415"] if body else []
    for status in sorted(statuses):
        responses[status] = {
            "description": _MEANINGS[status],
            "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }


def _score_body(model: LoadedModel | None, max_rows: int) -> dict[str, Any]:
    record: dict[str, Any] = {"type": "object"}
    column: dict[str, Any] = {"type": "object", "minProperties": 1, "additionalProperties": {"type": "array"}}
    examples: dict[str, Any] = {}
    if model is not None:
        max_rows = model.encoder.max_rows
        features = model.manifest.core.features.features
        record["properties"] = {f.name: _property(f) for f in features}
        bounds = {"type": "array", "minItems": 1, "maxItems": max_rows}
        column["properties"] = {f.name: {**bounds, "items": _property(f)} for f in features}
        sample = example_record(model.manifest.core)
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
    lines: dict[str, Any] = {"schema": {"type": "string", "description": "A record a line."}}
    if model is not None:
        lines["example"] = 2 * (msgspec.json.encode(sample).decode() + "\n")
    content = {"application/json": {"schema": body, "examples": examples}, NDJSON.decode(): lines}
    return {"required": True, "content": content}


_TYPES = {
    Kind.NUMERIC: ("number",),
    Kind.BOOLEAN: ("boolean",),
    Kind.TIME: ("string", "number"),
    Kind.CATEGORICAL: ("string",),
    Kind.CODE: ("string", "integer"),
}


def _property(feature: Feature) -> dict[str, Any]:
    if not feature.kind.scored:
        return {"description": f"accepted and not used: {feature.reason}"}
    types = [*_TYPES[feature.kind], *(["null"] if feature.nullable else [])]
    return {"type": types if len(types) > 1 else types[0]}

"""The protocol's routes in the OpenAPI document, which attacks and generated clients go by."""

from typing import Any

import msgspec

from nearnorm.service.interfaces.open_inference import shapes
from nearnorm.service.interfaces.open_inference.metadata import datatype_of
from nearnorm.service.serving.example import example_record
from nearnorm.service.serving.model import LoadedModel

_SECURITY: list[dict[str, list[str]]] = [{"HTTPBearer": []}, {"APIKeyHeader": []}]
_REFERENCE = "#/components/schemas/OpenInference{name}"
_MESSAGES = (
    shapes.InferRequest,
    shapes.InferResponse,
    shapes.ServerMetadata,
    shapes.ModelMetadata,
    shapes.ModelNames,
    shapes.Live,
    shapes.Ready,
    shapes.ModelReady,
)
_ERROR = {
    "type": "object",
    "description": "The protocol's error, with the fields of our problems beside it.",
    "required": ["error", "type", "title", "status", "detail"],
    "properties": {
        "error": {"type": "string"},
        "type": {"type": "string", "pattern": "^urn:nearnorm:problem:[a-z-]+$"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "field": {"type": "string"},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}
_MODEL = {"name": "model_name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
_VERSION = {**_MODEL, "name": "model_version"}


def schemas() -> dict[str, Any]:
    """The protocol's messages, by the names that the routes refer to."""
    _, found = msgspec.json.schema_components(_MESSAGES, ref_template=_REFERENCE)
    return {_name(name): schema for name, schema in found.items()} | {_name("Error"): _ERROR}


def paths() -> dict[str, Any]:
    found: dict[str, Any] = {
        "/v2": _get("What server this is", "ServerMetadata", guarded=False),
        "/v2/health/live": _get("Whether the process answers", "Live", guarded=False),
        "/v2/health/ready": _get("Whether a model is loaded", "Ready", guarded=False),
        "/v2/models": _get("The models in memory", "ModelNames"),
    }
    found["/v2/health/ready"]["get"]["responses"]["503"] = _answer("None is", "Ready")
    for prefix, parameters in (
        ("/v2/models/{model_name}", [_MODEL]),
        ("/v2/models/{model_name}/versions/{model_version}", [_MODEL, _VERSION]),
    ):
        of_model = {
            prefix: _get("A model's inputs and outputs by name", "ModelMetadata"),
            f"{prefix}/ready": _get("Whether it serves", "ModelReady", guarded=False),
            f"{prefix}/infer": _infer(),
        }
        for operations in of_model.values():
            for operation in operations.values():
                operation["parameters"] = parameters
                operation["responses"] |= _errors("404", "503")
        found |= of_model
    return found


def bodies(model: LoadedModel) -> dict[str, Any]:
    """An example of a request for inference, by path: one row, a tensor a feature."""
    core = model.manifest.core
    record = example_record(core)
    example = {
        "inputs": [
            {"name": f.name, "shape": [1], "datatype": datatype_of(f), "data": [record[f.name]]}
            for f in core.features.scored
        ],
        "outputs": [{"name": name} for name in ("score", "anomaly", "reasons")],
    }
    return {path: example for path in paths() if path.endswith("/infer")}


def _name(name: str) -> str:
    return f"OpenInference{name}"


def _schema(name: str) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(name=name)}


def _answer(description: str, name: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _schema(name)}}}


def _errors(*statuses: str) -> dict[str, Any]:
    return {status: _answer("See `error`", "Error") for status in statuses}


def _get(summary: str, name: str, *, guarded: bool = True) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "tags": ["open inference protocol"],
        "summary": summary,
        "responses": {"200": _answer(summary, name), **_errors("400", "403")},
    }
    if guarded:
        operation["security"] = _SECURITY
        operation["responses"] |= _errors("401", "429")
    return {"get": operation}


def _infer() -> dict[str, Any]:
    summary = "Score rows that are sent as tensors"
    statuses = ("400", "401", "403", "413", "415", "429")
    return {
        "post": {
            "tags": ["open inference protocol"],
            "summary": summary,
            "security": _SECURITY,
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": _schema("InferRequest")}},
            },
            "responses": {"200": _answer("A tensor for each output", "InferResponse"), **_errors(*statuses)},
        }
    }

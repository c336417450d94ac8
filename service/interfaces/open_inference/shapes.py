"""The protocol's messages: tensors in, tensors out.

Fields that are not named here are overlooked: KServe's client sends `model_name` beside the protocol's own.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from nearnorm.service.records.limits import ID_CHARACTERS

Datatype = Literal[
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
    "BYTES",
]
Parameters = dict[str, Any] | None


class InputTensor(Struct):
    """`data` is a list, flat or nested as `shape` says, rows first; null is missing, whatever the datatype.
    Where it was read as plain numbers it is a float64 array."""

    name: str
    shape: Annotated[list[Annotated[int, Meta(ge=0)]], Meta(min_length=1, max_length=2)]
    datatype: Datatype
    data: Annotated[Any, Meta(extra_json_schema={"type": "array"})]
    parameters: Parameters = None


class RequestedOutput(Struct):
    name: str


class InferRequest(Struct):
    inputs: Annotated[list[InputTensor], Meta(min_length=1)]
    id: Annotated[str, Meta(max_length=ID_CHARACTERS)] | None = None
    outputs: list[RequestedOutput] | None = None
    parameters: Parameters = None


class OutputTensor(Struct):
    name: str
    shape: list[int]
    datatype: Datatype
    data: list[Any]


class InferResponse(Struct, omit_defaults=True):
    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    id: str | None = None
    parameters: dict[str, str] | None = None


class ServerMetadata(Struct):
    name: str
    version: str
    extensions: list[str]


class TensorMetadata(Struct, omit_defaults=True):
    """`shape` is [-1]: as many as there are rows."""

    name: str
    datatype: Datatype
    shape: list[int]
    parameters: dict[str, bool] | None = None


class ModelMetadata(Struct):
    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ModelNames(Struct):
    models: list[str]


class Live(Struct):
    live: bool


class Ready(Struct):
    ready: bool


class ModelReady(Struct):
    name: str
    ready: bool

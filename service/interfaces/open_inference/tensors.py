"""Tensors in: by feature name, one for each, or one of numbers for all features in the model's order.

They become the columns that /score reads, and go through the same encoder: the same coercions, the same
errors of rows, the same answer for equal values.
"""

import sys
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET

from nearnorm.models.data.schema import Feature, FeatureSchema, Kind
from nearnorm.models.data.spelling import spelled
from nearnorm.models.data.values import category
from nearnorm.service.errors import InvalidRequest, MalformedBody, misfit
from nearnorm.service.interfaces.open_inference.outputs import flag
from nearnorm.service.interfaces.open_inference.shapes import InferRequest, InputTensor
from nearnorm.service.records.columns import Column, ColumnRequest
from nearnorm.service.records.encoded import Encoded
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.records.limits import ID_CHARACTERS, MOST_VALUES, check_values, shortened
from nearnorm.service.records.loose_json import raise_malformed
from nearnorm.service.records.packer import floats
from nearnorm.service.records.shapes import Envelope
from nearnorm.service.records.unknown_fields import refusal, warnings_of

ROW_IDS = "id"
"""The tensor that tells rows apart, where the schema has no column of this name."""
MOST_TENSORS = 10_000
"""Of one request: each is looked at, whatever it holds."""
_NUMBER, _BOOL, _TEXT = frozenset({int, float}), frozenset({bool}), frozenset({str})
_BOUNDS: Mapping[str, tuple[float, float]] = {
    **{f"INT{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": (0, 2**bits - 1) for bits in (8, 16, 32, 64)},
    **dict.fromkeys(("FP16", "FP32", "FP64"), (-sys.float_info.max, sys.float_info.max)),
}
"""A number is read as JSON has it, whatever the width of its datatype; integers beyond it are mistakes."""
_TYPES: Mapping[str, frozenset[type]] = {
    datatype: _NUMBER if datatype.startswith("FP") else frozenset({int}) for datatype in _BOUNDS
} | {"BOOL": _BOOL, "BYTES": _TEXT}
_MISSING = frozenset({type(None)})
_BITS = frozenset({0, 1, None})
_decode = msgspec.json.Decoder(InferRequest).decode
_read_json = msgspec.json.Decoder().decode


def decode(body: bytes) -> InferRequest:
    """Raises MalformedBody, InvalidRequest, BodyTooLarge."""
    check_values(body, MOST_VALUES)
    if not body or body.isspace():
        raise MalformedBody("the body is empty: send JSON with `inputs`")
    try:
        return _decode(body)
    except msgspec.ValidationError as error:
        detail, field = misfit(error)
        raise InvalidRequest(detail, field=field) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise_malformed(body, error)


def rows_of(request: InferRequest) -> int:
    """The most that a tensor has: which of them are the model's is not known yet."""
    return max(tensor.shape[0] for tensor in request.inputs)


def has_only_numbers(schema: FeatureSchema) -> bool:
    return all(feature.kind is Kind.NUMERIC for feature in schema.scored)


def encode(request: InferRequest, encoder: Encoder) -> Encoded:
    """The rows by the encoder's schema. Raises InvalidRequest, TooManyRows for the request as a whole."""
    schema, tensors = encoder.schema, _by_name(request.inputs, encoder.schema)
    ids = None if ROW_IDS in schema.names else tensors.pop(ROW_IDS, None)
    strange = [name for name in tensors if name not in schema.names]
    if len(tensors) == len(strange) == 1 and len(tensors[strange[0]].shape) == 2:
        encoded = _matrix(tensors[strange[0]], encoder)
    else:
        encoded = _columns(tensors, encoder)
        encoded.warnings = warnings_of(sorted(strange))
        if strange and flag(request, "strict"):
            raise InvalidRequest(refusal(strange[0]), field=shortened(strange[0]))
    if ids is not None:
        encoded.ids = _ids(ids, encoded.count)
    return encoded


def _by_name(inputs: Sequence[InputTensor], schema: FeatureSchema) -> dict[str, InputTensor]:
    if len(inputs) > MOST_TENSORS:
        raise InvalidRequest(f"{len(inputs)} tensors were sent, and {MOST_TENSORS} are read", field="inputs")
    names = spelled([tensor.name for tensor in inputs], schema.names)
    tensors = dict(zip(names, inputs, strict=True))
    if len(tensors) < len(inputs):
        twice = shortened(next(name for name in names if names.count(name) > 1))
        raise InvalidRequest(f"the tensor {twice!r} was sent twice", field=twice)
    return tensors


def _matrix(tensor: InputTensor, encoder: Encoder) -> Encoded:
    """One tensor [N, D], whatever its name."""
    schema, features, (count, width) = encoder.schema, encoder.schema.scored, tensor.shape
    name = shortened(tensor.name)
    if width != len(features):
        raise _refused(
            name,
            f"it is no feature of the model, and one tensor for all has the shape [N, {len(features)}], "
            f"in the order of the model's metadata, not [{count}, {width}]",
        )
    if schema.categorical:
        raise _refused(
            name,
            f"it is no feature of the model, and one tensor for all would be of numbers, which "
            f"{schema.categorical[0].name} is not: send a tensor for each feature, by its name",
        )
    numeric = has_only_numbers(schema)
    if numeric and isinstance(tensor.data, np.ndarray):
        _check_size(tensor, name)
        encoder.check_rows(count, "inputs")
        return encoder.encode_matrix(tensor.data.reshape(count, width))
    flat = _values(tensor, name)
    encoder.check_rows(count, "inputs")
    if numeric and tensor.datatype != "BYTES":
        return encoder.encode_matrix(floats(flat).reshape(count, width))
    sent = {feature.name: flat[j::width] for j, feature in enumerate(features)}
    return _encoded(sent, dict.fromkeys(sent, tensor.datatype), encoder)


def _columns(tensors: Mapping[str, InputTensor], encoder: Encoder) -> Encoded:
    """A tensor for each feature, [N] or [N, 1]."""
    known = {name: tensor for name, tensor in tensors.items() if name in encoder.schema.names}
    if not any(feature.name in known for feature in encoder.schema.scored):
        raise InvalidRequest(
            "no tensor is named like a feature of the model: its metadata (GET /v2/models/NAME) names them",
            field="inputs",
        )
    first, count = next((name, tensor.shape[0]) for name, tensor in known.items())
    for name, tensor in known.items():
        if tensor.shape[0] != count:
            raise _refused(name, f"it has {tensor.shape[0]} rows and {first} {count}: send as many of each")
        if len(tensor.shape) == 2 and tensor.shape[1] != 1:
            raise _refused(name, f"a feature's tensor has the shape [N] or [N, 1], not {tensor.shape}")
    encoder.check_rows(count, "inputs")
    sent = {name: _values(tensor, name) for name, tensor in known.items()}
    return _encoded(sent, {name: tensor.datatype for name, tensor in known.items()}, encoder)


def _encoded(sent: dict[str, list[Any]], datatypes: Mapping[str, str], encoder: Encoder) -> Encoded:
    """Columns as the schema's own types where they fit, else cell by cell: what cannot be coerced is its
    row's error."""
    schema = encoder.schema
    fitted: list[Column] = []
    for feature in schema.scored:
        column = sent.get(feature.name)
        found = UNSET if column is None else _fitted(feature, datatypes[feature.name], column)
        if found is None:
            return encoder.encode(Envelope(columns=sent))
        fitted.append(found)
    identifiers = [sent.get(f.name, []) for f in schema.ignored if f.kind is Kind.ID]
    kept = [sent.get(name, []) for name in schema.kept]
    return encoder.encode(ColumnRequest(columns={}, sent=fitted, identifiers=identifiers, kept=kept))


def _fitted(feature: Feature, datatype: str, column: list[Any]) -> list[Any] | None:
    """A column as the schema's own type; None where it has to be looked at cell by cell."""
    text = datatype == "BYTES"
    if feature.kind is Kind.TIME:
        return column
    if feature.kind is Kind.NUMERIC:
        return None if text else column
    if feature.kind is Kind.BOOLEAN:
        return column if not text and _BITS.issuperset(column) else None
    return column if text else [feature.coerce(value) for value in column]


def _ids(tensor: InputTensor, count: int) -> list[Any]:
    """Raises InvalidRequest."""
    found = _values(tensor, ROW_IDS)
    if len(found) != count:
        raise _refused(ROW_IDS, f"{len(found)} ids were sent for {count} rows: send one a row")
    if not (_TEXT.issuperset(map(type, found)) or {int}.issuperset(map(type, found))):
        raise _refused(ROW_IDS, "ids are texts (BYTES) or whole numbers (INT64), one a row")
    if len(set(found)) != count:
        raise _refused(ROW_IDS, "an id was sent twice: ids tell rows apart")
    if any(isinstance(one, str) and len(one) > ID_CHARACTERS for one in found):
        raise _refused(ROW_IDS, f"an id has more than {ID_CHARACTERS} characters: send shorter ones")
    if any(isinstance(one, int) and one >= 2**63 for one in found):
        raise _refused(ROW_IDS, "an id is beyond 64 bits with a sign: send it as a text")
    return found


def _values(tensor: InputTensor, name: str) -> list[Any]:
    """A tensor's values in order, each of the tensor's datatype or None. Raises InvalidRequest."""
    if isinstance(tensor.data, np.ndarray):
        _check_size(tensor, name)
        plain: list[Any] = tensor.data.tolist()
        return plain
    if not isinstance(tensor.data, list):
        raise _refused(name, f"its data is a list of values, not {_named(tensor.data)}")
    flat, shape = tensor.data, tensor.shape
    if len(shape) == 2 and flat and type(flat[0]) is list:
        if any(type(row) is not list or len(row) != shape[1] for row in flat):
            raise _refused(name, f"its data is nested otherwise than its shape {shape} says")
        tensor.data = flat = list(chain.from_iterable(flat))
    _check_size(tensor, name)
    unpack = _CONTENTS.get(str((tensor.parameters or {}).get("content_type")))
    if tensor.datatype == "BYTES" and unpack is not None:
        return _unpacked(flat, unpack, name)
    types = set(map(type, flat))
    if not (_TYPES[tensor.datatype] | _MISSING).issuperset(types):
        place = next(i for i, v in enumerate(flat) if type(v) not in _TYPES[tensor.datatype] | _MISSING)
        raise _refused(name, f"value {place} is no {tensor.datatype}: {_named(flat[place])}")
    if int in types:
        _check_bounds(flat, tensor.datatype, name)
    return flat


def _check_size(tensor: InputTensor, name: str) -> None:
    """Whether there are as many values as the shape says, laid flat."""
    shape, sent = tensor.shape, len(tensor.data)
    size = shape[0] if len(shape) == 1 else shape[0] * shape[1]
    if sent != size:
        raise _refused(name, f"its shape {shape} has {size} values, and {sent} were sent")


def _check_bounds(flat: list[Any], datatype: str, name: str) -> None:
    numbers = [value for value in flat if value is not None]
    low, high = _BOUNDS[datatype]
    if min(numbers) < low or max(numbers) > high:
        place = next(i for i, v in enumerate(flat) if v is not None and not low <= v <= high)
        raise _refused(name, f"value {place} is beyond {datatype}")


def _of_base64(text: str) -> str:
    return b64decode(text, validate=True).decode()


def _of_json(text: str) -> str | None:
    return category(_read_json(text))


_CONTENTS: Mapping[str, Callable[[str], str | None]] = {"base64": _of_base64, "pd_json": _of_json}
"""How MLServer's codecs pack texts, by the `content_type` of a tensor's parameters."""


def _unpacked(flat: list[Any], unpack: Callable[[str], str | None], name: str) -> list[str | None]:
    found: list[str | None] = []
    for place, packed in enumerate(flat):
        try:
            found.append(None if packed is None else unpack(packed))
        except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
            raise _refused(
                name, f"value {place} is not what its content_type says: {_named(packed)}"
            ) from None
    return found


def _named(value: object) -> str:
    return shortened(repr(value)) if isinstance(value, str | int | float) else f"a {type(value).__name__}"


def _refused(name: str, detail: str) -> InvalidRequest:
    return InvalidRequest(f"{name}: {detail}", field=name)

"""Large bodies of plain numbers, from their text straight into arrays: a third of what lists of them take.

Only tensors of floating point are read here, flat and without a null. Everything else, a mistake above all,
is left to the decoder that can tell what is wrong.
"""

from typing import Any

import msgspec
import numpy as np
import simdjson

from nearnorm.service.interfaces.open_inference.shapes import InferRequest

LEAST = 8192
"""Bytes of a body from which on it is worth looking here."""
MOST = 262_144
"""Bytes of a body that is read in a fraction of a millisecond, and so where requests are answered."""
MOST_ARRAYS = 1_000
"""Two a tensor and a few more: each is looked at by itself."""
FLOATS = frozenset({"FP16", "FP32", "FP64"})
_OPENING = ord("[")


def decode_plain(body: bytes) -> InferRequest | None:
    """A request whose data are float64 arrays. None: leave it to the other decoder."""
    if not LEAST <= len(body) <= MOST:
        return None
    try:
        arrays = int(np.count_nonzero(np.frombuffer(body, np.uint8) == _OPENING))
        if arrays > MOST_ARRAYS:
            return None
        return _read(simdjson.Parser().parse(body), arrays)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, msgspec.ValidationError):
        # simdjson has no errors of its own
        return None


def _read(document: Any, arrays: int) -> InferRequest | None:  # noqa: ANN401
    inputs = list(document["inputs"])
    # one array of tensors, one of outputs, and two a tensor: no data is nested
    if arrays != 1 + ("outputs" in document) + 2 * len(inputs) or not _are_unique(document, *inputs):
        return None
    sent = [{name: tensor[name] for name in tensor if name != "data"} for tensor in inputs]
    told = {name: document[name] for name in document if name != "inputs"}
    request = msgspec.convert(
        {name: _plain(value) for name, value in told.items()}
        | {"inputs": [{name: _plain(value) for name, value in one.items()} | {"data": []} for one in sent]},
        InferRequest,
    )
    for tensor, read in zip(request.inputs, inputs, strict=True):
        if tensor.datatype not in FLOATS:
            return None
        tensor.data = np.frombuffer(read["data"].as_buffer(of_type="d"), np.float64)
    return request


def _are_unique(*objects: Any) -> bool:  # noqa: ANN401
    """Whether no name stands twice in one of them: of two, each decoder would take another."""
    return all(len(set(names)) == len(names) for names in (list(one.keys()) for one in objects))


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Python's own objects in the place of simdjson's."""
    if isinstance(value, simdjson.Array):
        return value.as_list()
    return value.as_dict() if isinstance(value, simdjson.Object) else value

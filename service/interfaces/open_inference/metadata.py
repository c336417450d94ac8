"""What the protocol tells of the server and of a model: its inputs by feature name, its outputs."""

from nearnorm import __version__
from nearnorm.models.data.schema import Feature, Kind
from nearnorm.models.data.times import TimeFormat
from nearnorm.service.interfaces.open_inference.on_request import ON_REQUEST
from nearnorm.service.interfaces.open_inference.outputs import DEFAULT
from nearnorm.service.interfaces.open_inference.shapes import (
    Datatype,
    ModelMetadata,
    ServerMetadata,
    TensorMetadata,
)
from nearnorm.service.serving.model import LoadedModel

PLATFORM = "nearnorm_onnx"
_ANY = [-1]
_DATATYPES: dict[Kind, Datatype] = {Kind.NUMERIC: "FP64", Kind.BOOLEAN: "BOOL"}
_NUMBERS = (
    TimeFormat.EXCEL,
    TimeFormat.EPOCH_S,
    TimeFormat.EPOCH_MS,
    TimeFormat.EPOCH_US,
    TimeFormat.EPOCH_NS,
)


def server() -> ServerMetadata:
    return ServerMetadata("nearnorm", __version__, [])


def of_model(model: LoadedModel) -> ModelMetadata:
    """The features in the order of a tensor for all of them."""
    scored = model.manifest.core.features.scored
    return ModelMetadata(
        model.ref.name,
        [model.ref.version],
        PLATFORM,
        [TensorMetadata(feature.name, datatype_of(feature), _ANY) for feature in scored],
        [
            *(TensorMetadata(name, datatype, _ANY) for name, datatype in DEFAULT.items()),
            *(TensorMetadata(name, kind, _ANY, {"on_request": True}) for name, kind in ON_REQUEST.items()),
        ],
    )


def datatype_of(feature: Feature) -> Datatype:
    """What a feature's values are sent as; what can be coerced is read as well."""
    if feature.format in _NUMBERS:
        return "FP64" if feature.format is TimeFormat.EXCEL else "INT64"
    return _DATATYPES.get(feature.kind, "BYTES")

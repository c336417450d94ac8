"""What answers tell of a model: all that writing one needs, without the model itself."""

from msgspec import Struct

from nearnorm.service.records.shapes import ModelRef
from nearnorm.service.verdict.novelty import Signals


class ModelFacts(Struct, frozen=True):
    ref: ModelRef
    provider: str
    signals: Signals

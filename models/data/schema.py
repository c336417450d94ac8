"""Which fields a record has, of what kind, and which codes its categories have. Pure data."""

from collections.abc import Iterable
from enum import StrEnum
from functools import cached_property
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from nearnorm.models.canonical import digest

MISSING_CODE = 0
UNKNOWN_CODE = 1
FIRST_CODE = 2


class Kind(StrEnum):
    NUMERIC = "numeric"
    BOOLEAN = "boolean"
    CATEGORICAL = "categorical"
    IGNORED = "ignored"


class Feature(BaseModel):
    """One column. `categories[i]` has the code FIRST_CODE + i; `reason` says why one is ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Kind
    nullable: bool = True
    categories: tuple[str, ...] = ()
    reason: str = ""

    @cached_property
    def code_of(self) -> dict[str, int]:
        return {category: FIRST_CODE + i for i, category in enumerate(self.categories)}


class FeatureSchema(BaseModel):
    """Features in the order of the training data.

    A model sees two arrays: `numeric` [N, len(numeric)] float64, where NaN is missing and booleans are
    0 and 1, and `codes` [N, len(categorical)] int64. Its residuals are ordered as `scored`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    features: tuple[Feature, ...]

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [f.name for f in self.features]
        if len(set(names)) != len(names):
            twice = sorted({n for n in names if names.count(n) > 1})
            raise ValueError(f"features named twice: {', '.join(twice)}")
        return self

    def _of(self, kinds: Iterable[Kind]) -> tuple[Feature, ...]:
        return tuple(f for f in self.features if f.kind in kinds)

    @cached_property
    def numeric(self) -> tuple[Feature, ...]:
        return self._of((Kind.NUMERIC, Kind.BOOLEAN))

    @cached_property
    def categorical(self) -> tuple[Feature, ...]:
        return self._of((Kind.CATEGORICAL,))

    @cached_property
    def ignored(self) -> tuple[Feature, ...]:
        return self._of((Kind.IGNORED,))

    @cached_property
    def scored(self) -> tuple[Feature, ...]:
        return self.numeric + self.categorical

    @cached_property
    def digest(self) -> str:
        return digest(self.model_dump(mode="json"))

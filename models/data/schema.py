"""Which fields a record has, of what kind, and which codes its categories have."""

from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import cached_property, partial
from operator import not_
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nearnorm.models.canonical import digest
from nearnorm.models.data import values

MISSING_CODE = 0
UNKNOWN_CODE = 1
FIRST_CODE = 2


class Kind(StrEnum):
    NUMERIC = "numeric"
    BOOLEAN = "boolean"
    CATEGORICAL = "categorical"
    CODE = "code"
    """Digits that are names: 5411, "5411" and 5411.0 are one of them."""
    ID = "id"
    """What tells rows apart: never a feature."""
    IGNORED = "ignored"

    @property
    def scored(self) -> bool:
        """Whether a model sees such a column."""
        return self not in (Kind.ID, Kind.IGNORED)


_COERCIONS: dict[Kind, Callable[[object], float | str | None]] = {
    Kind.NUMERIC: values.number,
    Kind.BOOLEAN: values.boolean,
    Kind.CATEGORICAL: values.category,
}


class Feature(BaseModel):
    """One column. `categories[i]` has the code FIRST_CODE + i; `reason` says why one is no feature.

    `missing` are texts that stand for a missing value; codes are filled up with zeros to `width` digits.
    Both are left out of JSON where they say nothing, so that versions of older bundles stay as they are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Kind
    nullable: bool = True
    categories: tuple[str, ...] = ()
    reason: str = ""
    missing: tuple[str, ...] = Field(default=(), exclude_if=not_)
    width: int = Field(default=0, ge=0, exclude_if=not_)

    @cached_property
    def coerce(self) -> Callable[[object], float | str | None]:
        """One value -> a number or a category, None where it is missing. Raises ValueError in a sentence."""
        read = partial(values.code, width=self.width) if self.kind is Kind.CODE else _COERCIONS[self.kind]
        return partial(values.unless_missing, read, frozenset(self.missing)) if self.missing else read

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
        return self._of((Kind.CATEGORICAL, Kind.CODE))

    @cached_property
    def ignored(self) -> tuple[Feature, ...]:
        return tuple(f for f in self.features if not f.kind.scored)

    @cached_property
    def scored(self) -> tuple[Feature, ...]:
        return self.numeric + self.categorical

    @cached_property
    def line(self) -> str:
        """What versions share that read the same columns, whatever their kinds and categories."""
        return digest(sorted(feature.name for feature in self.features))

    @cached_property
    def digest(self) -> str:
        return digest(self.model_dump(mode="json"))

"""Which fields a record has, of what kind, and which codes its categories have."""

from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import cached_property, partial
from operator import not_
from typing import NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nearnorm.models.canonical import canonical_json, digest
from nearnorm.models.data import values
from nearnorm.models.data.times import TimeFormat, reader, zone_of

MISSING_CODE = 0
UNKNOWN_CODE = 1
FIRST_CODE = 2
MOST_KEPT, MOST_KEPT_NAMES = 32, 1_024
"""Columns that are kept with events, and bytes of their names as a JSON array."""


class Kind(StrEnum):
    NUMERIC = "numeric"
    BOOLEAN = "boolean"
    CATEGORICAL = "categorical"
    CODE = "code"
    """Digits that are names: 5411, "5411" and 5411.0 are one of them."""
    TIME = "time"
    """Seconds since 1970 on the clocks of its time zone: a model sees hour, weekday and day of the month."""
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


class TimeColumns(NamedTuple):
    """Times among the numbers, by their places; `since`: pairs of which the first counts from the second."""

    columns: tuple[int, ...] = ()
    since: tuple[tuple[int, int], ...] = ()


NO_TIMES = TimeColumns()


class Feature(BaseModel):
    """One column. `categories[i]` has the code FIRST_CODE + i; `reason` says why one is no feature.

    `missing` are texts that stand for a missing value; codes are filled up with zeros to `width` digits.
    Times are written in `format`, are read on the clocks of `zone` ("": UTC), and count from times `since`.
    `keep`: no model reads it, and its text is kept with an event for whoever reviews it.
    What says nothing is left out of JSON, so that versions of older bundles stay as they are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Kind
    nullable: bool = True
    categories: tuple[str, ...] = ()
    reason: str = ""
    missing: tuple[str, ...] = Field(default=(), exclude_if=not_)
    width: int = Field(default=0, ge=0, exclude_if=not_)
    format: TimeFormat | None = Field(default=None, exclude_if=not_)
    zone: str = Field(default="", exclude_if=not_)
    since: tuple[str, ...] = Field(default=(), exclude_if=not_)
    keep: bool = Field(default=False, exclude_if=not_)

    @model_validator(mode="after")
    def _times_alone_have_a_format(self) -> Self:
        if (self.kind is Kind.TIME) != (self.format is not None):
            raise ValueError(f"{self.name}: a format belongs to a time, and a time has one")
        zone_of(self.zone)
        return self

    @model_validator(mode="after")
    def _features_are_no_kept_columns(self) -> Self:
        if self.keep and self.kind.scored:
            raise ValueError(f"{self.name}: a feature stands in the record: keep is for columns outside it")
        return self

    @cached_property
    def coerce(self) -> Callable[[object], float | str | None]:
        """One value -> a number or a category, None where it is missing. Raises ValueError in a sentence."""
        read: Callable[[object], float | str | None]
        if self.format is not None:
            read = reader(self.format, self.zone)
        elif self.kind is Kind.CODE:
            read = partial(values.code, width=self.width)
        else:
            read = _COERCIONS[self.kind]
        return partial(values.unless_missing, read, frozenset(self.missing)) if self.missing else read

    def code(self, category: str) -> int:
        """The code of a category as it is, else in normal form C; UNKNOWN_CODE."""
        code = self.code_of.get(category)
        return self.code_of.get(values.composed(category), UNKNOWN_CODE) if code is None else code

    @cached_property
    def code_of(self) -> dict[str, int]:
        return {category: FIRST_CODE + i for i, category in enumerate(self.categories)}


class FeatureSchema(BaseModel):
    """Features in the order of the training data.

    A model sees two arrays: `numeric` [N, len(numeric)] float64, where NaN is missing, booleans are
    0 and 1, and times seconds, and `codes` [N, len(categorical)] int64. Its residuals are ordered as
    `scored`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    features: tuple[Feature, ...]

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [f.name for f in self.features]
        if len(set(names)) != len(names):
            twice = sorted({n for n in names if names.count(n) > 1})
            raise ValueError(f"features named twice: {', '.join(twice)}")
        times = {f.name for f in self.features if f.kind is Kind.TIME}
        for feature in self.features:
            if not set(feature.since) <= times - {feature.name}:
                raise ValueError(f"{feature.name} counts since what is no other time")
        return self

    @model_validator(mode="after")
    def _kept_columns_are_few(self) -> Self:
        count, size = len(self.kept), len(canonical_json(self.kept))
        if count > MOST_KEPT or size > MOST_KEPT_NAMES:
            raise ValueError(
                f"{count} columns have keep = true, with names of {size:,} bytes: {MOST_KEPT} columns are "
                f"allowed, with {MOST_KEPT_NAMES:,} bytes"
            )
        return self

    def _of(self, kinds: Iterable[Kind]) -> tuple[Feature, ...]:
        return tuple(f for f in self.features if f.kind in kinds)

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(f.name for f in self.features)

    @cached_property
    def numeric(self) -> tuple[Feature, ...]:
        return self._of((Kind.NUMERIC, Kind.BOOLEAN, Kind.TIME))

    @cached_property
    def times(self) -> TimeColumns:
        """Which of the numbers are times."""
        place = {feature.name: j for j, feature in enumerate(self.numeric)}
        return TimeColumns(
            tuple(j for j, feature in enumerate(self.numeric) if feature.kind is Kind.TIME),
            tuple((place[f.name], place[name]) for f in self.numeric for name in f.since),
        )

    @cached_property
    def categorical(self) -> tuple[Feature, ...]:
        return self._of((Kind.CATEGORICAL, Kind.CODE))

    @cached_property
    def ignored(self) -> tuple[Feature, ...]:
        return tuple(f for f in self.features if not f.kind.scored)

    @cached_property
    def kept(self) -> tuple[str, ...]:
        """Columns that no model reads, whose text is kept with events."""
        return tuple(f.name for f in self.features if f.keep)

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

"""Which numbers are counted over time windows: the table `[aggregates]` of a schema file."""

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Self

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nearnorm.models.data.schema import Feature, FeatureSchema, Kind
from nearnorm.models.data.times import SECONDS_OF_A_DAY, TimeFormat
from nearnorm.models.data.toml_text import quoted
from nearnorm.models.errors import ConfigError

MOST_AGGREGATES = 20
SECOND = 1_000_000
"""Times are whole microseconds."""
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": SECONDS_OF_A_DAY}
_DURATION = re.compile(r"([0-9]{1,9})([smhd])")
_LONGEST_WINDOW, _LONGEST_LATE = 90, 1  # days


class Function(StrEnum):
    COUNT = "count"
    SUM = "sum"
    DISTINCT = "distinct"
    SINCE_LAST = "since last"

    @property
    def is_whole(self) -> bool:
        """Whether it gives whole numbers."""
        return self in (Function.COUNT, Function.DISTINCT)


class Aggregate(BaseModel):
    """One number of a record: what the events of its `key` within the `window` before it come to.

    `of` is the column that is summed, or whose different values are counted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    window: str
    function: Function
    of: str | None = Field(default=None, exclude_if=lambda of: of is None)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.of is not None) != (self.function in (Function.SUM, Function.DISTINCT)):
            raise ValueError(
                "`of` names the column of a sum or of distinct values: those need it, and others have none"
            )
        duration(self.window, "window", 1, _LONGEST_WINDOW)
        return self


class WindowedNumber(Struct, frozen=True):
    """An aggregate as it is computed: its `place` among the declared ones, its window in microseconds."""

    place: int
    window: int
    function: Function
    of: str


class KeyColumn(Struct, frozen=True):
    """One column of keys, and all that is counted by it. What is kept of an event beside its time and its id
    are the columns `sums` and `distincts`. `late` and the longest window in microseconds."""

    name: str
    numbers: tuple[WindowedNumber, ...]
    sums: tuple[str, ...]
    distincts: tuple[str, ...]
    late: int
    window: int

    @property
    def span(self) -> int:
        """How far back from the newest event a record may look that comes as late as it may."""
        return self.window + 2 * self.late


class Aggregates(BaseModel):
    """`time` and `id` name the columns of an event's time, written in `format`, and of what tells it from
    others. A record does not see events of the last `late` before it, so that they may come in any order.
    What says nothing is left out of JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    time: str
    id: str
    format: TimeFormat = Field(default=TimeFormat.ISO, exclude_if=lambda form: form is TimeFormat.ISO)
    late: str = Field(default="0s", exclude_if=lambda late: late == "0s")
    features: dict[Annotated[str, Field(pattern=r"\S")], Aggregate] = Field(
        min_length=1, max_length=MOST_AGGREGATES
    )

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        duration(self.late, "late", 0, _LONGEST_LATE)
        if self.format is TimeFormat.CLOCK:
            raise ValueError("format: a time of day without its day tells no order")
        for name in self.features.keys() & self.used:
            raise ValueError(
                f"features.{name}: a column that is counted from is called so: choose another name"
            )
        return self

    @classmethod
    def of_table(cls, table: object, source: object) -> Self:
        """Of a table `[aggregates]`. Raises ConfigError naming the file and the key."""
        try:
            return cls.model_validate(table)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(["aggregates", *map(quoted, map(str, first["loc"]))])
            raise ConfigError(
                f"{source}: {key}: {first['msg'].removeprefix('Value error, ')}: see docs/aggregates.md"
            ) from None

    @cached_property
    def keys(self) -> tuple[KeyColumn, ...]:
        """By column of keys what is counted, in the order they are declared."""
        by_key: dict[str, list[WindowedNumber]] = {}
        for place, one in enumerate(self.features.values()):
            window = duration(one.window, "window", 1, _LONGEST_WINDOW) * SECOND
            number = WindowedNumber(place, window, one.function, one.of or "")
            by_key.setdefault(one.key, []).append(number)
        late = duration(self.late, "late", 0, _LONGEST_LATE) * SECOND
        return tuple(
            KeyColumn(
                name,
                tuple(numbers),
                _columns(numbers, Function.SUM),
                _columns(numbers, Function.DISTINCT),
                late,
                max(number.window for number in numbers),
            )
            for name, numbers in by_key.items()
        )

    @cached_property
    def sums(self) -> tuple[str, ...]:
        return tuple(sorted({name for key in self.keys for name in key.sums}))

    @cached_property
    def distincts(self) -> tuple[str, ...]:
        return tuple(sorted({name for key in self.keys for name in key.distincts}))

    @cached_property
    def texts(self) -> frozenset[str]:
        """Columns whose values are names, whatever they look like."""
        return frozenset({self.id, *self.distincts, *(key.name for key in self.keys)})

    @property
    def used(self) -> frozenset[str]:
        """The columns that are counted from."""
        columns = {name for one in self.features.values() for name in (one.key, one.of) if name is not None}
        return frozenset({self.time, self.id, *columns})

    @cached_property
    def measured(self) -> FeatureSchema:
        """How the time and what is summed are read, as a model reads its features."""
        return FeatureSchema(
            features=(
                Feature(name=self.time, kind=Kind.TIME, nullable=False, format=self.format),
                *(Feature(name=name, kind=Kind.NUMERIC) for name in self.sums),
            )
        )


def duration(text: str, name: str, least: int, most_days: int) -> int:
    """Seconds of 90s, 5m, 1h, 7d. Raises ValueError in a sentence."""
    found = _DURATION.fullmatch(text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else -1
    if not least <= seconds <= most_days * SECONDS_OF_A_DAY:
        raise ValueError(f"{name} = {text!r}: write {least}s to {most_days}d, as in 90s, 5m, 1h or 7d")
    return seconds


def declared(document: Mapping[str, object], source: object) -> Aggregates | None:
    """What a schema file declares; None: nothing. Raises ConfigError."""
    return Aggregates.of_table(document["aggregates"], source) if "aggregates" in document else None


def _columns(numbers: list[WindowedNumber], function: Function) -> tuple[str, ...]:
    return tuple(sorted({number.of for number in numbers if number.function is function}))

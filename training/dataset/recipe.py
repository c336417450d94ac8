"""The configuration file of `nearnorm train`: how to fit, and what to believe about columns."""

import tomllib
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nearnorm.models.aggregates.declaration import Aggregates, declared
from nearnorm.models.data.times import TimeFormat, zone_of
from nearnorm.models.data.toml_text import quoted
from nearnorm.models.errors import ConfigError
from nearnorm.training.method.config import FitConfig


class ColumnOverride(BaseModel):
    """What the user knows better than inference about one column; None leaves it to inference."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["numeric", "boolean", "categorical", "code", "time", "id", "ignored"] | None = None
    nullable: bool | None = None
    missing: tuple[str, ...] | None = None
    """Texts that stand for a missing value."""
    categories: int | None = Field(default=None, ge=1)
    """The most categories that are kept."""

    format: TimeFormat | None = None
    """How times are written."""
    zone: str | None = None
    """The time zone on whose clocks they are read, such as Europe/Berlin; UTC without one."""
    since: tuple[str, ...] | None = None
    """Other times: how long it is since each is a number that the model sees."""
    keep: bool | None = Field(default=None, exclude_if=lambda keep: keep is None)
    """Whether its text is kept with events for whoever reviews them, though no model reads it. Where nothing
    is said, the recipe in a bundle, and so its version, is as it was before there was such a thing."""

    @model_validator(mode="after")
    def _times_alone_have_a_format(self) -> Self:
        for key in ("format", "zone", "since"):
            if getattr(self, key) is not None and self.kind not in (None, "time"):
                raise ValueError(f'{key} belongs to times: set kind = "time"')
        zone_of(self.zone or "")
        return self

    @model_validator(mode="after")
    def _features_are_no_kept_columns(self) -> Self:
        if self.keep and self.kind not in (None, "id", "ignored"):
            raise ValueError('keep is for columns outside the model: set kind = "ignored" or "id"')
        return self

    @property
    def of_time(self) -> bool:
        """Whether something is said that only a time has."""
        return self.kind == "time" or any(v is not None for v in (self.format, self.zone, self.since))

    @property
    def is_text(self) -> bool:
        """Whether CSV is to be read as it is written."""
        return self.kind in ("categorical", "code")


class Recipe(BaseModel):
    """The table `[fit]` as in FitConfig, a table `[schema.COLUMN]` for each overridden column, and which
    features are counted over windows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fit: FitConfig
    columns: dict[str, ColumnOverride]
    aggregates: Aggregates | None = Field(default=None, exclude_if=lambda declared: declared is None)

    @classmethod
    def read(cls, path: Path | None, schema: Path | None = None) -> "Recipe":
        """The recipe of a TOML file, or the default one, with what a schema file says beside its own.

        Raises ConfigError naming the key.
        """
        document = {} if path is None else _document(path, {"fit", "schema", "aggregates"})
        if schema is None:
            return cls._checked(path, document)
        own = cls._checked(path, document)
        given = cls._checked(schema, _document(schema, {"schema", "aggregates"}))
        twice = sorted(own.columns.keys() & given.columns.keys())
        if twice:
            raise ConfigError(f"[schema.{quoted(twice[0])}] is in {path} and in {schema}: keep one of them")
        if own.aggregates is not None and given.aggregates is not None:
            raise ConfigError(f"[aggregates] is in {path} and in {schema}: keep one of them")
        aggregates = own.aggregates or given.aggregates
        return own.model_copy(update={"columns": own.columns | given.columns, "aggregates": aggregates})

    @classmethod
    def _checked(cls, path: Path | None, document: dict[str, object]) -> "Recipe":
        try:
            found = cls.model_validate(
                {"fit": document.get("fit", {}), "columns": document.get("schema", {})}
            )
            return found.model_copy(update={"aggregates": declared(document, path)})
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join("schema" if part == "columns" else str(part) for part in first["loc"])
            if first["type"] == "extra_forbidden":
                raise ConfigError(f"{path}: unknown key {key!r}: see docs/training.md") from None
            raise ConfigError(f"{path}: {key}: {first['msg'].removeprefix('Value error, ')}") from None


def _document(path: Path, tables: set[str]) -> dict[str, object]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    unknown = sorted(set(document) - tables)
    if unknown:
        known = " or ".join(
            "[schema.COLUMN]" if table == "schema" else f"[{table}]" for table in sorted(tables)
        )
        raise ConfigError(f"{path}: unknown key {unknown[0]!r}: a table is {known}")
    return document

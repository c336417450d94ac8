"""The configuration file of `nearnorm train`: how to fit, and what to believe about columns."""

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nearnorm.models.errors import ConfigError
from nearnorm.training.method.config import FitConfig


class ColumnOverride(BaseModel):
    """What the user knows better than inference about one column; None leaves it to inference."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["numeric", "boolean", "categorical", "code", "id", "ignored"] | None = None
    nullable: bool | None = None
    missing: tuple[str, ...] | None = None
    """Texts that stand for a missing value."""
    categories: int | None = Field(default=None, ge=1)
    """The most categories that are kept."""


class Recipe(BaseModel):
    """The table `[fit]` as in FitConfig, and a table `[schema.COLUMN]` for each overridden column."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fit: FitConfig
    columns: dict[str, ColumnOverride]

    @classmethod
    def read(cls, path: Path | None) -> "Recipe":
        """The recipe of a TOML file, or the default one. Raises ConfigError naming the key."""
        document: dict[str, object] = {}
        if path is not None:
            try:
                document = tomllib.loads(path.read_text(encoding="utf-8"))
            except OSError as error:
                raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise ConfigError(f"{path} is not TOML: {error}") from None
        unknown = sorted(set(document) - {"fit", "schema"})
        if unknown:
            raise ConfigError(f"{path}: unknown key {unknown[0]!r}: a table is [fit] or [schema.COLUMN]")
        try:
            return cls.model_validate({"fit": document.get("fit", {}), "columns": document.get("schema", {})})
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join("schema" if part == "columns" else str(part) for part in first["loc"])
            if first["type"] == "extra_forbidden":
                raise ConfigError(f"{path}: unknown key {key!r}: see docs/training.md") from None
            raise ConfigError(f"{path}: {key}: {first['msg'].removeprefix('Value error, ')}") from None

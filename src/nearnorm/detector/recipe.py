"""An estimator's parameters <-> the recipe that `nearnorm train` reads from a file."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from nearnorm.detector.mistakes import InvalidInput
from nearnorm.training.dataset.recipe import ColumnOverride, Recipe
from nearnorm.training.method.config import FitConfig, Preset

PRESET: Final = "preset"
"""A knob's value that means: as the preset has it."""
KNOBS = {
    "input_transform" if name == "transform" else name: name
    for name in FitConfig.model_fields
    if name != "preset"
}
"""The estimator's parameters by which a fit is configured -> the keys of [fit]."""

Schema = Mapping[str, Mapping[str, Any] | ColumnOverride]


def recipe_of(preset: Preset, knobs: Mapping[str, object], schema: Schema | None) -> Recipe:
    """Raises InvalidInput naming the parameter."""
    fit = {KNOBS[k]: value for k, value in knobs.items() if not (isinstance(value, str) and value == PRESET)}
    try:
        config = FitConfig.model_validate({"preset": preset, **fit})
    except ValidationError as error:
        raise _refused(error, "") from None
    try:
        return Recipe.model_validate({"fit": config, "columns": {} if schema is None else schema})
    except ValidationError as error:
        raise _refused(error, "schema") from None


def parameters_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The other way: what a bundle says it was trained by, as an estimator's parameters."""
    recipe = Recipe.model_validate(config)
    usual = FitConfig.preset_of(recipe.fit.preset)
    changed = {knob: key for knob, key in KNOBS.items() if getattr(recipe.fit, key) != getattr(usual, key)}
    own = {knob: getattr(recipe.fit, key) for knob, key in changed.items()}
    columns = {name: column.model_dump(exclude_none=True) for name, column in recipe.columns.items()}
    return {"preset": recipe.fit.preset, **own, "schema": columns or None}


def _refused(error: ValidationError, parameter: str) -> InvalidInput:
    first = error.errors()[0]
    where = ".".join(parameter if part == "columns" else str(part) for part in first["loc"]) or parameter
    message = f"{where}: {first['msg'].removeprefix('Value error, ')}".removeprefix(": ")
    return InvalidInput(message)

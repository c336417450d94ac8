"""docs/training.md names every key of the configuration, with the values that the presets have."""

import re
from pathlib import Path

import pytest

from nearnorm.training.method.config import FitConfig, Preset

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
ROWS = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|", PAGE, re.MULTILINE)
WORDS: dict[object, set[str]] = {None: {"none", "by silhouette"}, True: {"true"}, False: {"false"}}


def test_every_key_is_on_the_page_and_no_other() -> None:
    assert {name for name, *_ in ROWS} | {"preset"} == set(FitConfig.model_fields)


@pytest.mark.parametrize(("column", "preset"), [(1, "default"), (2, "paper")])
def test_the_values_are_those_of_the_preset(column: int, preset: Preset) -> None:
    config = FitConfig.preset_of(preset).model_dump()
    for row in ROWS:
        value = config[row[0]]
        spelled = WORDS.get(value) if value is None or isinstance(value, bool) else {str(value), f'"{value}"'}
        assert row[column].strip("` ") in (spelled or set()), row[0]

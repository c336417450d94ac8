from pathlib import Path

import pytest

from nearnorm.models.errors import ConfigError
from nearnorm.training.dataset.recipe import ColumnOverride, Recipe
from nearnorm.training.method.config import FitConfig


def recipe(folder: Path, text: str) -> Recipe:
    (folder / "fit.toml").write_text(text)
    return Recipe.read(folder / "fit.toml")


def test_no_file_is_the_default_recipe() -> None:
    assert Recipe.read(None) == Recipe(fit=FitConfig.preset_of("default"), columns={})


def test_a_file_chooses_a_preset_and_overrides_columns(tmp_path: Path) -> None:
    text = '[fit]\npreset = "paper"\nprototypes = 3\n[schema.zip]\nkind = "categorical"\nnullable = false\n'
    read = recipe(tmp_path, text)
    assert (read.fit.preset, read.fit.prototypes) == ("paper", 3)
    assert read.columns == {"zip": ColumnOverride(kind="categorical", nullable=False)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[fits]\n", "unknown key 'fits'"),
        ("[fit]\nlearning = 1\n", r"unknown key 'fit\.learning'"),
        ('[schema.zip]\ntype = "numeric"\n', r"unknown key 'schema\.zip\.type'"),
        ('[schema.zip]\nkind = "date"\n', r"schema\.zip\.kind: Input should be 'numeric'"),
        ("[fit]\nmembers = 0\n", r"fit\.members: Input should be greater than or equal to 1"),
        ('[fit]\npreset = "best"\n', r"fit\.preset: Input should be 'default' or 'paper'"),
        ('[schema.zip]\nkind = "code"\nkeep = true\n', r"schema\.zip: keep is for columns outside the model"),
        ("[fit\n", "is not TOML"),
        ("fit = 3\n", "fit: Input should be"),
        ('[fit]\npreset = "paper"\nmembers = 2\n', "fit: layerwise pre-training is for one member"),
    ],
)
def test_a_mistake_is_refused_by_the_name_of_its_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        recipe(tmp_path, text)
    assert "fit.toml" in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        Recipe.read(tmp_path / "nothing.toml")


def test_a_recipe_that_keeps_nothing_is_written_as_before_there_was_such_a_thing() -> None:
    names = ["kind", "nullable", "missing", "categories", "format", "zone", "since"]
    assert list(ColumnOverride(kind="code").model_dump()) == names
    assert list(ColumnOverride(kind="id", keep=True).model_dump()) == [*names, "keep"]

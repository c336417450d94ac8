"""What is counted over windows is a feature like any other, and the bundle says how it is counted."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nearnorm.models.bundle.bundle import read_bundle
from nearnorm.models.errors import ConfigError, DataError
from nearnorm.training.commands import ProgressStyle, train
from nearnorm.training.dataset.recipe import Recipe

TABLE = """
[aggregates]
time = "at"
id = "payment"
features.card_count_1h = { key = "card", window = "1h", function = "count" }
"""
QUICK = "[fit]\nrepresentation_epochs = 1\njoint_epochs = 1\nmembers = 1\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a schema, a configuration, and a history that is counted and one that is not."""
    folder, rng = tmp_path_factory.mktemp("counted"), np.random.default_rng(0)
    (folder / "schema.toml").write_text('[schema.card]\nkind = "ignored"\n' + TABLE)
    (folder / "quick.toml").write_text(QUICK)
    rows = pa.table(
        {
            "payment": [f"p{i}" for i in range(300)],
            "card": [f"c{i % 9}" for i in range(300)],
            "amount": rng.lognormal(3, 1, 300),
            "card_count_1h": rng.poisson(2, 300),
            "label": [1 if i % 60 == 0 else None for i in range(300)],
        }
    )
    pq.write_table(rows, folder / "counted.parquet")
    pq.write_table(rows.drop_columns(["card_count_1h"]), folder / "plain.parquet")
    return folder


def test_a_bundle_tells_how_its_features_are_counted(folder: Path) -> None:
    train(
        str(folder / "counted.parquet"),
        folder / "model",
        config=folder / "quick.toml",
        schema=folder / "schema.toml",
        progress=ProgressStyle.OFF,
    )
    core = read_bundle(folder / "model").manifest.core
    assert core.aggregates == Recipe.read(None, folder / "schema.toml").aggregates
    assert [feature.name for feature in core.features.numeric] == ["amount", "card_count_1h"]
    assert Recipe.model_validate(core.config).aggregates == core.aggregates, "as a retraining reads it"


def test_data_that_was_not_counted_is_refused_with_the_mend(folder: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'card_count_1h'.* train on what `nearnorm aggregate"):
        train(str(folder / "plain.parquet"), folder / "other", schema=folder / "schema.toml")


def test_one_file_declares_what_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(TABLE)
    assert Recipe.read(tmp_path / "a.toml") == Recipe.read(None, tmp_path / "a.toml")
    with pytest.raises(ConfigError, match=r"\[aggregates\] is in .* keep one of them"):
        Recipe.read(tmp_path / "a.toml", tmp_path / "a.toml")
    (tmp_path / "b.toml").write_text(TABLE.replace('"1h"', '"soon"'))
    with pytest.raises(ConfigError, match=r"b\.toml: aggregates\.features\.card_count_1h: window = 'soon'"):
        Recipe.read(tmp_path / "b.toml")


def test_a_recipe_that_counts_nothing_is_written_as_before_there_was_such_a_thing() -> None:
    assert list(Recipe.read(None).model_dump()) == ["fit", "columns"]

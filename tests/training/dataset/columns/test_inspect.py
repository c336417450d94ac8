"""`nearnorm inspect`: what it shows is what training does, and what it writes is read back."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nearnorm.models.errors import ConfigError, DataError
from nearnorm.training.commands import inspect
from nearnorm.training.dataset.columns.infer import Inferred, infer_schema
from nearnorm.training.dataset.columns.inspect import as_schema, as_table
from nearnorm.training.dataset.load import load
from nearnorm.training.dataset.recipe import ColumnOverride, Recipe

ROWS = 400
STRANGE = 'Amount\n(EUR) "gross" \\'


def rows() -> pa.Table:
    def texts(values: list[str | None]) -> pa.Array:
        return pa.array(values * (ROWS // len(values)), pa.string())

    return pa.table(
        {
            STRANGE: [i * 1.37 % 90 for i in range(ROWS)],
            "age": texts(["18", "NULL", "44", "61"]),
            "zip": texts(["01067", "80331", None, "10115"]),
            "country": texts(["DE", "NA"]),
            "mail": texts(["mei@bank.example", "ola@bank.example"]),
            "row": list(range(ROWS)),
            "label": pa.array([1] * 5 + [None] * (ROWS - 5), pa.int8()),
        }
    )


@pytest.fixture
def data(tmp_path: Path) -> str:
    pq.write_table(rows(), tmp_path / "data.parquet")
    return str(tmp_path / "data.parquet")


def found() -> Inferred:
    table = rows().drop_columns(["label"])
    plain = {
        name: table[name].dictionary_encode() if pa.types.is_string(table[name].type) else table[name]
        for name in table.column_names
    }
    return infer_schema(pa.table(plain), {})


def test_a_line_a_column_tells_kind_reason_choices_and_values_in_masks() -> None:
    lines = list(as_table(found().findings))
    assert len(lines) == 6
    assert lines[0].split("  ")[1].startswith("Amount (EUR)")
    assert 'missing where "NULL"; 25.0% missing, 3 distinct; or code, categorical; such as' in lines[1]
    assert "zip" in lines[2]
    assert "code" in lines[2]
    assert "leading zeros" in lines[2]
    assert "***@***" in lines[4]
    assert "mei@" not in "".join(lines)
    assert not any("\n" in line for line in lines)


def test_the_schema_that_is_written_says_what_was_inferred(data: str, tmp_path: Path) -> None:
    schema = tmp_path / "schema.toml"
    inspect(data, write=schema)
    told = Recipe.read(None, schema).columns
    before, after = load(data, "label"), load(data, "label", told)
    for one, other in zip(before.schema.features, after.schema.features, strict=True):
        assert one.model_copy(update={"reason": ""}) == other.model_copy(update={"reason": ""})
    assert (before.numeric == after.numeric).all() or before.numeric.shape == after.numeric.shape
    assert (before.codes == after.codes).all()
    assert "mei@" not in schema.read_text()


def test_a_guess_that_could_hurt_stands_beside_its_table() -> None:
    text = as_schema(found().findings, "data.csv\n[fit]")
    assert text.startswith("# What `nearnorm inspect` took the columns of data.csv [fit] for.")
    assert "\n# column 'zip' is taken as a code" in text
    assert "# column 'country' holds \"NA\", taken as a category" in text


def test_a_schema_file_is_never_written_over(data: str, tmp_path: Path) -> None:
    schema = tmp_path / "schema.toml"
    schema.write_text("# mine")
    with pytest.raises(ConfigError, match="is there already"):
        inspect(data, write=schema)
    assert schema.read_text() == "# mine"


def test_one_column_is_told_in_one_file(tmp_path: Path) -> None:
    config, schema = tmp_path / "config.toml", tmp_path / "schema.toml"
    config.write_text('[fit]\nmembers = 2\n[schema.zip]\nkind = "code"\n')
    schema.write_text('[schema.age]\nmissing = ["?"]\n')
    both = Recipe.read(config, schema)
    assert both.fit.members == 2
    assert both.columns.keys() == {"zip", "age"}
    schema.write_text('[schema.zip]\nkind = "numeric"\n')
    with pytest.raises(ConfigError, match=r"\[schema.zip\] is in .*config.toml and in .*schema.toml"):
        Recipe.read(config, schema)
    schema.write_text("[fit]\nmembers = 2\n")
    with pytest.raises(
        ConfigError, match=r"unknown key 'fit': a table is \[aggregates\] or \[schema.COLUMN\]"
    ):
        Recipe.read(None, schema)


def test_all_columns_that_change_their_type_are_told_at_once() -> None:
    with pytest.raises(DataError, match=r"column 'a' changes its type: .* column 'b' changes its type"):
        infer_schema(
            pa.table(
                {
                    name: pa.array([*map(str, range(399)), word]).dictionary_encode()
                    for name, word in (("a", "x"), ("b", "high"))
                }
            ),
            {},
        )


def test_a_schema_file_keeps_what_is_kept(data: str, tmp_path: Path) -> None:
    known, schema = tmp_path / "known.toml", tmp_path / "schema.toml"
    known.write_text('[schema.url]\nkind = "ignored"\nkeep = true\n')
    inspect(data, schema=known, write=schema)
    assert Recipe.read(None, schema).columns["url"] == ColumnOverride(kind="ignored", keep=True)

"""What a training refuses and warns of before the heavy work."""

from dataclasses import replace
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from nearnorm.models.errors import ConfigError, DataError
from nearnorm.training.dataset.recipe import Recipe
from nearnorm.training.job import prepare
from tests.training.conftest import PAYMENTS, PAYMENTS_HELD_OUT, SILENT, job
from tests.training.samples import quick


def warnings_of(out: Path, held_out: str) -> list[str]:
    warnings: list[str] = []
    prepare(job(out, held_out=held_out), replace(SILENT, warning=warnings.append))
    return [warning for warning in warnings if held_out in warning]


def test_a_held_out_file_that_was_trained_on_is_told(tmp_path: Path) -> None:
    assert any("rows of" in w and "training data too" in w for w in warnings_of(tmp_path / "m", PAYMENTS))
    assert not warnings_of(tmp_path / "m", PAYMENTS_HELD_OUT)


def test_a_held_out_file_of_something_else_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("x,label\n1,0\n2,1\n")
    with pytest.raises(DataError, match=r"columns of the model .*: is it another file"):
        prepare(job(tmp_path / "m", held_out=str(other)), SILENT)


@pytest.mark.parametrize("role", ["source", "held_out", "validation", "reference"])
def test_data_that_lies_in_the_bundle_that_is_written_anew_is_not_lost(tmp_path: Path, role: str) -> None:
    out = tmp_path / "model"
    out.mkdir()
    (out / "manifest.json").write_text("{}")
    data = out / "data.parquet"
    data.write_bytes(Path(PAYMENTS).read_bytes())
    with pytest.raises(ConfigError, match=rf"--out {out} is where {data} lies, and would be written over"):
        prepare(job(out, **{role: str(data)}), SILENT)
    assert data.exists()


def test_validation_rows_are_refused_where_nothing_stops_by_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'--validation .*no use: set preset = "paper" or a patience'):
        prepare(job(tmp_path / "m", validation=PAYMENTS_HELD_OUT), SILENT)


def test_a_model_is_not_measured_on_the_rows_that_chose_it(tmp_path: Path) -> None:
    recipe = Recipe(fit=quick("paper", members=1), columns={})
    with pytest.raises(ConfigError, match="--validation and --held-out are both"):
        prepare(
            job(tmp_path / "m", recipe=recipe, validation=PAYMENTS_HELD_OUT, held_out=PAYMENTS_HELD_OUT),
            SILENT,
        )


def test_validation_rows_that_are_trained_on_are_told(tmp_path: Path) -> None:
    table = pq.read_table(PAYMENTS)
    labels = pc.equal(table.column("label"), 1).fill_null(False)
    again = table.set_column(table.column_names.index("label"), "label", labels)
    pq.write_table(again, tmp_path / "again.parquet")
    recipe = Recipe(fit=quick("paper", members=1), columns={})
    warnings: list[str] = []
    prepare(
        job(tmp_path / "m", recipe=recipe, validation=str(tmp_path / "again.parquet")),
        replace(SILENT, warning=warnings.append),
    )
    assert any("rows of the validation file" in w and "are trained on too" in w for w in warnings)

"""What a training refuses and warns of before the heavy work."""

from dataclasses import replace
from pathlib import Path

import pytest

from nearnorm.models.errors import ConfigError, DataError
from nearnorm.training.job import prepare
from tests.training.conftest import PAYMENTS, PAYMENTS_HELD_OUT, SILENT, job


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


@pytest.mark.parametrize("role", ["source", "held_out", "reference"])
def test_data_that_lies_in_the_bundle_that_is_written_anew_is_not_lost(tmp_path: Path, role: str) -> None:
    out = tmp_path / "model"
    out.mkdir()
    (out / "manifest.json").write_text("{}")
    data = out / "data.parquet"
    data.write_bytes(Path(PAYMENTS).read_bytes())
    with pytest.raises(ConfigError, match=rf"--out {out} is where {data} lies, and would be written over"):
        prepare(job(out, **{role: str(data)}), SILENT)
    assert data.exists()

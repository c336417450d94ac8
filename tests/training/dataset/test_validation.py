"""Which files may say when training stops."""

from pathlib import Path

import pytest

from nearnorm.models.errors import DataError
from nearnorm.training.dataset.load import load
from nearnorm.training.dataset.validation import load_validation

NORMAL = "".join(f"{i / 7:.3f},0\n" for i in range(12))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (NORMAL + "5,1\n6,\n7,\n", r"row 14 has no label \(2 rows have none\)"),
        (NORMAL, "has no anomaly"),
        ("1,0\n5,1\n6,1\n", "has 1 normal rows: 10 are the least"),
    ],
)
def test_validation_rows_that_are_not_wholly_labelled_or_of_one_kind_are_refused(
    tmp_path: Path, rows: str, message: str
) -> None:
    data, file = tmp_path / "data.csv", tmp_path / "validation.csv"
    data.write_text("x,label\n" + NORMAL + "9,1\n")
    file.write_text("x,label\n" + rows)
    with pytest.raises(DataError, match=message):
        load_validation(str(file), "label", load(str(data), "label").schema)


def test_validation_rows_keep_their_labels_row_by_row(tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("x,label\n" + NORMAL + "9,1\n")
    arrays, labels = load_validation(str(data), "label", load(str(data), "label").schema)
    assert labels.tolist() == [0] * 12 + [1]
    assert arrays.numeric[-1, 0] == 9.0

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nearnorm.models.data.schema import Kind
from nearnorm.models.errors import ConfigError, DataError
from nearnorm.training.dataset.load import REFERENCE_CEILING, Dataset, load, split
from nearnorm.training.dataset.recipe import ColumnOverride

rng = np.random.default_rng(0)


def write(folder: Path, rows: int = 100, **columns: object) -> str:
    """A file of `rows` rows with a number, and labels of one anomaly unless told otherwise."""
    table = {"x": rng.normal(size=rows), "label": [1] + [None] * (rows - 1), **columns}
    pq.write_table(pa.table(table), folder / "a.parquet")
    return str(folder / "a.parquet")


@pytest.mark.parametrize(
    "labels",
    [
        [1, 0, None] * 10,
        [1.0, 0.0, float("nan")] * 10,
        ["1", "0", ""] * 10,
        ["true", "False", None] * 10,
        [True, False, None] * 10,
    ],
)
def test_labels_are_one_zero_or_nothing_in_any_spelling(tmp_path: Path, labels: list[object]) -> None:
    data = load(write(tmp_path, 30, label=labels), "label")
    assert data.labels.tolist() == [1, 0, -1] * 10
    assert (data.facts.anomalies, data.facts.normals, data.facts.unlabelled) == (10, 10, 10)


@pytest.mark.parametrize("bad", [2, -1, 0.5])
def test_any_other_label_is_refused_with_its_row(tmp_path: Path, bad: float) -> None:
    path = write(tmp_path, 30, label=[1, None, bad] + [None] * 27)
    with pytest.raises(DataError, match=f"label column 'label': row 3 holds {bad}"):
        load(path, "label")


def test_a_word_as_label_is_refused_with_its_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 2 holds 'fraud'"):
        load(write(tmp_path, 30, label=["1", "fraud"] + [None] * 28), "label")


def test_data_without_the_label_column_is_refused_with_the_columns_it_has(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no column 'fraud' \(it has x, label\): give --label-column"):
        load(write(tmp_path), "fraud")


def test_a_line_break_in_a_column_s_name_leaves_the_error_one_line(tmp_path: Path) -> None:
    pq.write_table(pa.table({"amount\nin EUR": [1.0, 2.0], "x": [1.0, 2.0]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"it has amount in EUR, x\)"):
        load(str(tmp_path / "a.parquet"), "label")


def test_data_without_the_time_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no column 'when' .*: give --time-column"):
        load(write(tmp_path), "label", time_column="when")


def test_where_every_row_is_labelled_zero_counts_as_unlabelled_and_a_warning_says_so(tmp_path: Path) -> None:
    file = write(tmp_path, 60, label=[1, 0, 0] * 20)
    data = load(file, "label")
    assert data.labels.tolist() == [1, -1, -1] * 20
    assert (data.facts.anomalies, data.facts.normals, data.facts.unlabelled) == (20, 0, 40)
    assert any("every row is labelled, so 0 counts as unlabelled" in warning for warning in data.warnings)
    assert len(split(data, 0).reference)
    measured = load(file, "label", labels_as_they_are=True)
    assert measured.labels.tolist() == [1, 0, 0] * 20
    some = load(write(tmp_path, 60, label=[1, 0, None] * 20), "label")
    assert some.labels.tolist() == [1, 0, -1] * 20
    assert not any("counts as unlabelled" in warning for warning in some.warnings)


def test_data_in_which_every_row_is_an_anomaly_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of 30 rows is unlabelled"):
        split(load(write(tmp_path, 30, label=[1] * 30), "label"), 0)


def test_an_infinite_value_is_refused_with_its_column_and_row(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"column 'x', row 4: a finite number was expected.*\(2 rows are bad\)"
    ):
        load(write(tmp_path, 30, x=[1.0, 2.0, 3.0] + [float("inf")] * 2 + [5.0] * 25), "label")


def test_the_digest_covers_rows_and_labels(tmp_path: Path) -> None:
    x = rng.normal(size=30)
    base = load(write(tmp_path, 30, x=x), "label").facts.digest
    assert load(write(tmp_path, 30, x=x), "label").facts.digest == base
    assert load(write(tmp_path, 30, x=x + 1e-9), "label").facts.digest != base
    assert load(write(tmp_path, 30, x=x, label=[1, 1] + [None] * 28), "label").facts.digest != base


def dataset(folder: Path, rows: int, anomalies: int, normals: int, **columns: object) -> Dataset:
    label = [1] * anomalies + [0] * normals + [None] * (rows - anomalies - normals)
    return load(write(folder, rows, label=label, **columns), "label")


def test_reference_rows_are_held_out_of_training_and_every_label_stays_in_it(tmp_path: Path) -> None:
    data = dataset(tmp_path, 2_000, 10, 5)
    rows = split(data, seed=0)
    assert sorted([*rows.fit, *rows.reference]) == list(range(2_000))
    assert len(rows.reference) == 398
    assert (data.labels[rows.reference] == -1).all()


def test_another_seed_holds_out_other_rows_and_the_same_seed_the_same(tmp_path: Path) -> None:
    data = dataset(tmp_path, 500, 3, 0)
    assert split(data, 1).reference.tolist() == split(data, 1).reference.tolist()
    assert split(data, 1).reference.tolist() != split(data, 2).reference.tolist()


def test_of_small_data_half_is_held_out_and_of_large_data_no_more_than_the_ceiling(tmp_path: Path) -> None:
    assert len(split(dataset(tmp_path, 60, 0, 0), 0).reference) == 30
    assert len(split(dataset(tmp_path, 60_000, 0, 0), 0).reference) == REFERENCE_CEILING


def test_confirmed_normals_stand_in_where_unlabelled_rows_are_few(tmp_path: Path) -> None:
    data = dataset(tmp_path, 120, 10, 100)
    rows = split(data, 0)
    held_out = data.labels[rows.reference]
    assert (held_out != 1).all()
    assert (held_out == 0).sum() == 50
    assert (data.labels[rows.fit] == 0).sum() == 50


def test_with_a_time_column_the_last_rows_are_held_out_and_time_is_no_feature(tmp_path: Path) -> None:
    when = rng.permutation(1_000)
    data = load(write(tmp_path, 1_000, when=when, label=[None] * 999 + [1]), "label", time_column="when")
    rows = split(data, 0)
    unlabelled = when[:-1]
    assert sorted(when[rows.reference]) == sorted(unlabelled)[-len(rows.reference) :]
    assert {f.name: f.kind for f in data.schema.features}["when"] is Kind.IGNORED


@pytest.mark.parametrize(
    "when",
    [
        pa.array(np.arange(100)[::-1], pa.timestamp("s")),
        pa.array(np.arange(100)[::-1].astype("int32"), pa.date32()),
        pa.array([f"2026-01-01T00:{i // 60:02}:{i % 60:02}" for i in range(100)][::-1]),
        pa.array(np.arange(100.0)[::-1]),
    ],
)
def test_time_is_a_date_a_number_or_iso_text(tmp_path: Path, when: pa.Array) -> None:
    data = load(write(tmp_path, when=when), "label", time_column="when")
    assert data.time is not None
    assert np.argsort(data.time).tolist() == list(range(100))[::-1]


def test_a_row_without_a_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="time column 'when': row 2 has no time"):
        load(write(tmp_path, 30, when=[1, None] + [2] * 28), "label", time_column="when")


def test_a_handful_of_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the data has 8 rows that are not labelled anomalies"):
        split(dataset(tmp_path, 10, 2, 0), 0)


def test_the_column_of_labels_is_never_kept(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[schema\.label\]: the column holds the labels"):
        load(write(tmp_path), "label", {"label": ColumnOverride(kind="ignored", keep=True)})

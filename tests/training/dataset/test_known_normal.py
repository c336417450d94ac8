"""`--reference`: rows known to be normal judge, and all of the data trains."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nearnorm.models.errors import DataError
from nearnorm.training.dataset.known_normal import judged_by, load_known_normal, overlap
from nearnorm.training.dataset.load import REFERENCE_CEILING, Dataset, load
from nearnorm.training.evaluation.seen import what_was_seen

rng = np.random.default_rng(0)


def write(folder: Path, name: str, rows: int, **columns: object) -> str:
    table = {"x": rng.normal(size=rows), "s": rng.choice(["a", "b"], rows), **columns}
    pq.write_table(pa.table(table), folder / name)
    return str(folder / name)


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    x = rng.normal(size=200)
    x[:2] = 9.0
    return load(write(tmp_path, "data.parquet", 200, x=x, label=[1, 1] + [None] * 198), "label")


def test_all_of_the_data_trains_and_the_sample_alone_judges(data: Dataset, tmp_path: Path) -> None:
    sample = load_known_normal(write(tmp_path, "clean.parquet", 50), "label", data.schema)
    joined, rows = judged_by(data, sample, 0)
    assert rows.fit.tolist() == list(range(200))
    assert (joined.numeric[rows.reference] == sample.numeric).all()
    assert (joined.codes[rows.reference] == sample.codes).all()
    assert rows.sample == sample.digest
    assert joined.facts == data.facts, "the facts tell what was trained on"


def test_of_a_large_sample_so_many_rows_are_drawn_by_the_seed(data: Dataset, tmp_path: Path) -> None:
    large = write(tmp_path, "clean.parquet", REFERENCE_CEILING + 500)
    sample = load_known_normal(large, "label", data.schema)
    first, second, other = (judged_by(data, sample, seed)[0].numeric for seed in (0, 0, 1))
    assert len(first) == 200 + REFERENCE_CEILING
    assert (first == second).all()
    assert (first != other).any()


def test_a_row_that_is_labelled_an_anomaly_in_the_data_is_no_reference(data: Dataset, tmp_path: Path) -> None:
    same = pq.read_table(tmp_path / "data.parquet").drop_columns(["label"]).slice(0, 1)
    clean = pq.read_table(write(tmp_path, "clean.parquet", 50))
    pq.write_table(pa.concat_tables([same, clean]), tmp_path / "both.parquet")
    sample = load_known_normal(str(tmp_path / "both.parquet"), "label", data.schema)
    joined, rows = judged_by(data, sample, 0)
    assert len(rows.reference) == 50
    assert 9.0 not in joined.numeric[rows.reference]


def test_a_sample_with_an_anomaly_or_without_a_column_is_refused(data: Dataset, tmp_path: Path) -> None:
    bad = write(tmp_path, "bad.parquet", 30, label=[0] * 6 + [1] + [None] * 23)
    with pytest.raises(DataError, match=r"bad\.parquet: row 7 is labelled an anomaly"):
        load_known_normal(bad, "label", data.schema)
    pq.write_table(pa.table({"x": rng.normal(size=30), "y": np.zeros(30)}), tmp_path / "less.parquet")
    with pytest.raises(DataError, match=r"less\.parquet has no column 's'"):
        load_known_normal(str(tmp_path / "less.parquet"), "label", data.schema)
    with pytest.raises(DataError, match="has 4 rows: 10 are the least for a reference"):
        load_known_normal(write(tmp_path, "few.parquet", 4), "label", data.schema)
    text = write(tmp_path, "text.parquet", 30, x=["high"] * 30)
    with pytest.raises(DataError, match=r"text\.parquet: column 'x', row 1"):
        load_known_normal(text, "label", data.schema)


def test_a_sample_that_is_trained_on_too_is_told(data: Dataset, tmp_path: Path) -> None:
    apart = load_known_normal(write(tmp_path, "clean.parquet", 50), "label", data.schema)
    assert overlap(data, apart) is None
    pq.write_table(pq.read_table(tmp_path / "data.parquet").slice(100, 50), tmp_path / "slice.parquet")
    inside = load_known_normal(str(tmp_path / "slice.parquet"), "label", data.schema)
    assert str(overlap(data, inside)).startswith("50 of 50 rows of the reference")


def test_records_that_are_equal_by_chance_are_no_overlap(tmp_path: Path) -> None:
    few = {"x": rng.integers(3, size=200).astype(float), "label": [None] * 200}
    data = load(write(tmp_path, "data.parquet", 200, **few), "label")
    values = write(tmp_path, "clean.parquet", 100, x=rng.integers(3, size=100).astype(float))
    assert overlap(data, load_known_normal(values, "label", data.schema)) is None


def test_a_column_that_only_grows_is_known_by_the_data_whose_time_is_known(tmp_path: Path) -> None:
    when = np.arange(200)
    source = write(tmp_path, "data.parquet", 200, x=1.0 * when, when=when, label=[None] * 200)
    data = load(source, "label", time_column="when")
    sample = load_known_normal(write(tmp_path, "clean.parquet", 50), "label", data.schema)
    joined, _ = judged_by(data, sample, 0)
    seen = what_was_seen(joined.schema, joined.numeric, joined.codes, np.zeros(50), joined.time)
    assert seen.numeric["x"].high is None

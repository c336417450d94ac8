"""A name means what its user wrote: a file, a folder, a glob, an object store's keys."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from obstore.store import S3Store

from nearnorm.models.data.files import objects
from nearnorm.models.data.files.find import refuse_overwriting
from nearnorm.models.data.files.parts import open_parts
from nearnorm.models.data.files.read import read_table
from nearnorm.models.errors import ConfigError, DataError
from tests.s3 import BUCKET, running_s3


def parquet(path: Path, *x: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"x": list(x), "s": ["a"] * len(x)}), path)


def test_a_plain_name_that_exists_is_no_glob(tmp_path: Path) -> None:
    (tmp_path / "data[1].csv").write_text("x,s\n1,a\n")
    (tmp_path / "data1.csv").write_text("x,s\n2,b\n")
    assert read_table(str(tmp_path / "data[1].csv"))["x"].to_pylist() == [1]
    assert read_table(str(tmp_path / "data[0-9].csv"))["x"].to_pylist() == [2]


def test_a_folder_is_its_data_files_in_order_with_the_columns_of_their_folders(tmp_path: Path) -> None:
    parquet(tmp_path / "out.parquet" / "day=2" / "part-0.parquet", 3)
    parquet(tmp_path / "out.parquet" / "day=1" / "part-1.parquet", 2)
    parquet(tmp_path / "out.parquet" / "day=1" / "part-0.parquet", 1)
    parquet(tmp_path / "out.parquet" / "_temporary" / "part-9.parquet", 9)
    (tmp_path / "out.parquet" / "_SUCCESS").touch()
    (tmp_path / "out.parquet" / "notes.md").write_text("x")
    table = read_table(str(tmp_path / "out.parquet"))
    assert table.to_pydict() == {"x": [1, 2, 3], "s": ["a"] * 3, "day": ["1", "1", "2"]}


def test_a_glob_has_the_columns_of_the_folders_that_it_matches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet(tmp_path / "lake" / "day=1" / "a.parquet", 1)
    parquet(tmp_path / "lake" / "day=2" / "b.parquet", 2)
    expected = {"x": [1, 2], "s": ["a"] * 2, "day": ["1", "2"]}
    monkeypatch.chdir(tmp_path)
    for pattern in ("lake/day=*/*.parquet", "lake/day=*", f"{tmp_path}/lake/*/*", "./lake/**/*.parquet"):
        assert read_table(pattern).to_pydict() == expected
    monkeypatch.chdir(tmp_path / "lake")
    assert read_table("day=*/*.parquet").to_pydict() == expected
    assert "day" not in read_table("day=1/*.parquet").column_names


def test_a_folder_without_data_or_of_two_kinds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="folder without data files"):
        read_table(str(tmp_path))
    parquet(tmp_path / "a.parquet", 1)
    (tmp_path / "a.csv").write_text("x,s\n1,a\n")
    with pytest.raises(DataError, match="means CSV and Parquet files: name one kind"):
        read_table(str(tmp_path))


def test_an_output_is_never_what_is_read(tmp_path: Path) -> None:
    data = tmp_path / "a.csv"
    data.write_text("x,s\n1,a\n")
    (tmp_path / "link.csv").symlink_to(data)
    (tmp_path / "hard.csv").hardlink_to(data)
    for out in (data, tmp_path / "link.csv", tmp_path / "hard.csv", tmp_path / "." / "a.csv"):
        for source in (data, tmp_path / "*.csv"):
            with pytest.raises(ConfigError, match="is what is read: name another file"):
                refuse_overwriting(out, str(source))
    with pytest.raises(ConfigError, match="is what is read"):
        refuse_overwriting(tmp_path / "scores.csv", str(tmp_path))
    refuse_overwriting(tmp_path / "scores.csv", str(data))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with running_s3() as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        store = S3Store(BUCKET)
        for key, x in {"day=1/a.csv": 1, "day=2/a.csv": 2, "day=2/_b.csv": 9, "other.csv": 3}.items():
            obstore.put(store, f"in/{key}", f"x,s\n{x},a\n".encode())
        yield f"s3://{BUCKET}/in"


def test_a_parquet_object_is_fetched_in_pieces_and_none_is_held_as_a_whole(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pa.table(
        {"x": np.random.default_rng(0).normal(size=20_000), "label": pa.nulls(20_000, pa.int8())}
    )
    written = io.BytesIO()
    pq.write_table(table, written, row_group_size=1_000)
    obstore.put(S3Store(BUCKET), "in/lake/a.parquet", written.getvalue())
    monkeypatch.setattr(objects, "BLOCK_BYTES", 10_000)
    assert read_table(f"{bucket}/lake/a.parquet").equals(table)
    fetched: list[tuple[int, int]] = []
    get = obstore.get_range

    def noted(store: S3Store, key: str, *, start: int, end: int) -> object:
        fetched.append((start, end))
        return get(store, key, start=start, end=end)

    monkeypatch.setattr(obstore, "get_range", noted)
    parts = open_parts(f"{bucket}/lake/")
    assert (parts.names, parts.rows) == (("x", "label"), 20_000)
    assert sum(end - start for start, end in fetched) < len(written.getvalue()) / 2, "its footer alone"
    reading = parts.read()
    assert next(reading).num_rows == 20_000
    assert max(end - start for start, end in fetched) == 10_000
    obstore.delete(S3Store(BUCKET), "in/lake/a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet does not exist"):
        list(parts.read())


def test_urls_of_an_object_store_are_read_like_files(bucket: str) -> None:
    assert read_table(f"{bucket}/other.csv").to_pydict() == {"x": [3], "s": ["a"]}
    assert read_table(f"{bucket}/*.csv")["x"].to_pylist() == [3]
    assert read_table(f"{bucket}/day=*/a.csv")["day"].to_pylist() == ["1", "2"]
    assert read_table(f"{bucket}/day=2/")["x"].to_pylist() == [2]
    with pytest.raises(DataError, match=r"s3://data/in/none\.csv does not exist"):
        read_table(f"{bucket}/none.csv")
    with pytest.raises(DataError, match="has no data files"):
        read_table(f"{bucket}/none/")
    with pytest.raises(ConfigError, match="from files and from s3, gs, az URLs"):
        read_table("ftp://host/a.csv")

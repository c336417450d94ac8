"""A name means what its user wrote: a file, a folder, a glob, an object store's keys."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nearnorm.models.data.files.find import refuse_overwriting
from nearnorm.models.data.files.read import read_table
from nearnorm.models.errors import ConfigError, DataError


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


BUCKET = "data"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of moto's S3 server, by the usual AWS_ variables."""
    obstore = pytest.importorskip("obstore")
    from moto.server import ThreadedMotoServer
    from obstore.store import S3Store

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    import httpx

    httpx.put(f"http://{host}:{port}/{BUCKET}").raise_for_status()
    store = S3Store(BUCKET)
    for key, x in {"day=1/a.csv": 1, "day=2/a.csv": 2, "day=2/_b.csv": 9, "other.csv": 3}.items():
        obstore.put(store, f"in/{key}", f"x,s\n{x},a\n".encode())
    yield f"s3://{BUCKET}/in"
    server.stop()


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

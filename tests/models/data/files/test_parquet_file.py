"""Parquet files with whatever types warehouses give columns."""

import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nearnorm.models.data.files.read import read_table


def read(path: Path, column: pa.Array) -> pa.ChunkedArray:
    pq.write_table(pa.table({"c": column, "x": list(range(len(column)))}), path)
    return read_table(str(path))["c"]


def test_decimals_are_numbers(tmp_path: Path) -> None:
    whole = read(tmp_path / "a.parquet", pa.array([Decimal(1), None, Decimal(5411)], pa.decimal128(38, 0)))
    assert whole.type == pa.int64()
    assert whole.to_pylist() == [1, None, 5411]
    cents = read(tmp_path / "b.parquet", pa.array([Decimal("12.50"), None], pa.decimal128(10, 2)))
    assert cents.to_pylist() == [12.5, None]
    large = read(tmp_path / "c.parquet", pa.array([Decimal(10**30), Decimal(1)], pa.decimal256(60, 0)))
    assert large.to_pylist() == [1e30, 1.0]


ROWS = 3
BINARY = [
    pa.array([uuid.uuid4().bytes for _ in range(ROWS)], pa.uuid()),
    pa.array([b"ab"] * ROWS, pa.binary(2)),
    pa.array([b"ab"] * ROWS, pa.large_binary()),
    pa.array([b"ab"] * ROWS, pa.binary_view()),
]


@pytest.mark.parametrize("column", BINARY, ids=lambda c: str(c.type))
def test_every_binary_type_is_one(tmp_path: Path, column: pa.Array) -> None:
    assert read(tmp_path / "a.parquet", column).type == pa.binary()


def test_extension_types_are_read_by_their_storage(tmp_path: Path) -> None:
    assert read(tmp_path / "a.parquet", pa.array(['{"a":1}'], pa.json_())).to_pylist() == ['{"a":1}']
    flags = pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0, None], pa.int8()))
    assert read(tmp_path / "b.parquet", flags).to_pylist() == [True, False, None]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1], [2, 3]]),
        pa.array([{"a": 1}, {"a": None}]),
        pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int64())),
        pa.array([timedelta(1), None], pa.duration("us")),
        pa.array([datetime(2024, 1, 1), None], pa.timestamp("ns", "Europe/Berlin")),
        pa.array([1.5, None], pa.float16()),
        pa.array(["a", None], pa.string_view()),
        pa.nulls(2),
    ],
    ids=lambda c: str(c.type),
)
def test_no_type_stops_the_reading(tmp_path: Path, column: pa.Array) -> None:
    assert len(read(tmp_path / "a.parquet", column)) == 2

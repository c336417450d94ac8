"""Which frames are read, and what is said of those that are none."""

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse

from nearnorm.models.data.frames import read_frame
from nearnorm.models.errors import DataError

RECORDS = [
    {"amount": 2.5, "country": "DE", "paid": True, "at": dt.datetime(2026, 1, 1)},
    {"amount": None, "country": None, "paid": None, "at": None},
    {"amount": 4.0, "country": "FR", "paid": False, "at": dt.datetime(2026, 1, 3)},
]
TABLE = pa.Table.from_pylist(RECORDS)


@pytest.mark.parametrize(
    "frame",
    [
        TABLE,
        TABLE.to_batches()[0],
        pd.DataFrame(RECORDS),
        pd.DataFrame(RECORDS, index=[7, 7, 9]).astype({"country": "category", "paid": "boolean"}),
        TABLE.to_pandas(types_mapper=pd.ArrowDtype),
        pl.DataFrame(RECORDS),
        pl.DataFrame(RECORDS).with_columns(pl.col("country").cast(pl.Categorical)),
        RECORDS,
    ],
    ids=["table", "batch", "pandas", "extension types", "arrow types", "polars", "categories", "records"],
)
def test_the_same_rows_are_the_same_table_in_every_library(frame: Any) -> None:
    found = read_frame(frame)
    assert found.names == ("amount", "country", "paid", "at")
    assert found.table.to_pylist() == RECORDS
    assert found.table.schema.field("country").type == pa.dictionary(pa.int32(), pa.string())


@pytest.mark.parametrize(
    "frame",
    [
        np.array([[1.0, 2.0], [np.nan, 4.0]]),
        np.asfortranarray([[1.0, 2.0], [np.nan, 4.0]], np.float32),
        np.ma.masked_array([[1.0, 2.0], [3.0, 4.0]], mask=[[False, False], [True, False]]),
        [[1, 2], [None, 4]],
        pd.DataFrame([[1.0, 2.0], [np.nan, 4.0]]),
    ],
)
def test_columns_without_names_are_numbered(frame: Any) -> None:
    found = read_frame(frame)
    assert found.names is None
    assert found.table.to_pylist() == [{"x0": 1, "x1": 2}, {"x0": None, "x1": 4}]


def test_numbers_beside_texts_stay_numbers() -> None:
    found = read_frame([[1, "a"], [2, "b"]])
    assert found.table.to_pylist() == [{"x0": 1, "x1": "a"}, {"x0": 2, "x1": "b"}]


def test_arrow_is_read_where_it_lies() -> None:
    table = pa.table({"n": pa.array([1, 2, 3]), "flag": pa.array([True, False, None])})
    found = read_frame(table).table
    for name in table.column_names:
        ours, theirs = (t.column(name).chunk(0).buffers()[-1].address for t in (found, table))
        assert ours == theirs


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (np.zeros(3), r"Expected 2D array, got 1D array instead.*reshape\(-1, 1\)"),
        (np.zeros((2, 0)), r"0 feature\(s\)"),
        (np.zeros((2, 2), complex), "Complex data not supported"),
        (scipy.sparse.csr_matrix(np.eye(2)), "a sparse matrix, which is not read"),
        ([[1, 2], [3]], "rows of different lengths"),
        (pl.LazyFrame({"a": [1]}), r"a LazyFrame: collect\(\) it first"),
        ("rows.csv", "X is a str: give a NumPy array"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns 'a': rename"),
        (pd.DataFrame([[1, 2]], columns=["a", 1]), "the column name 1 is no text"),
        (pd.DataFrame({"a": [1, "x", {}]}), "column 'a' holds values that are no column"),
        (np.zeros(2, [("a", int)]), "a structured array"),
    ],
)
def test_what_is_no_frame_is_refused_by_name(frame: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_frame(frame)

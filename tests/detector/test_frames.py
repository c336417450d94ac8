"""Which frames are read, and what is said of those that are none."""

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse

from nearnorm import NearnormDetector
from nearnorm.detector.frames import read_frame
from nearnorm.detector.labels import read_labels

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
        RECORDS,
    ],
    ids=["table", "batch", "pandas", "extension types", "arrow types", "polars", "records"],
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
    with pytest.raises(ValueError, match=message):
        read_frame(frame)


@pytest.mark.parametrize("make", [np.array, list, pd.Series, pl.Series, pa.array, pd.DataFrame])
def test_labels_are_one_zero_or_nothing_in_every_library(make: Any) -> None:
    assert read_labels(make([1.0, 0.0, None]), 3).tolist() == [1, 0, -1]


def test_booleans_are_labels_and_nullable_integers_too() -> None:
    assert read_labels(pd.Series([True, None, False], dtype="boolean"), 3).tolist() == [1, -1, 0]
    assert read_labels(pd.Series([1, None, 0], dtype="Int64"), 3).tolist() == [1, -1, 0]


def test_without_y_nothing_is_labelled_and_where_all_are_zero_is_unlabelled() -> None:
    assert read_labels(None, 2).tolist() == [-1, -1]
    assert read_labels([1, 0, 0], 3).tolist() == [1, -1, -1]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([1, 0], "X has 3 rows, and y has 2 labels: give one a row"),
        ([1, 2, 0], "y: row 2 holds 2: a label is 1"),
        ([1, -1, 1], r"row 2 holds -1.*\(y == -1\)"),
        (["fraud", "ok", "ok"], r'\(y == "fraud"\)'),
        (["1", "0", "0"], "y holds other values than numbers"),
        ([float("inf"), 0, 1], "row 1 holds inf"),
        (np.zeros((3, 2)), "y has 2 dimensions"),
    ],
)
def test_a_label_that_is_none_is_named(y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_labels(y, 3)


def test_columns_are_found_by_name_in_any_order(detector: NearnormDetector, payments: pa.Table) -> None:
    some = payments.slice(0, 50)
    other = some.select(some.column_names[::-1]).drop_columns(["payment_id"])  # no model reads that one
    np.testing.assert_array_equal(detector.predict(other), detector.predict(some))
    np.testing.assert_array_equal(detector.predict(other.to_pylist()), detector.predict(some))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns(["merchant"]), "yet now missing: merchant"),
        (lambda t: t.append_column("more", t.column(0)), "unseen at fit time: more"),
        (lambda t: t.slice(0, 0), r"0 sample\(s\)"),
        (
            lambda t: t.set_column(2, "amount_cents", pa.array([1.0, float("inf")])),
            "X: column 'amount_cents', row 2: a finite number was expected",
        ),
        (
            lambda t: t.set_column(2, "amount_cents", pa.array(["12", "dear"])),
            "X: column 'amount_cents', row 2: ",
        ),
        (lambda t: np.zeros((2, 3)), "X has 3 features, but NearnormDetector is expecting 14 features"),
    ],
)
def test_rows_that_cannot_be_scored_are_refused_by_name(
    detector: NearnormDetector, payments: pa.Table, change: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        detector.predict(change(payments.slice(0, 2)))

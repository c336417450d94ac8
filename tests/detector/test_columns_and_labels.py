"""Which columns and labels a detector takes, and what it says of those it does not."""

from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pyarrow as pa
import pytest

from nearnorm import NearnormDetector
from nearnorm.detector.labels import read_labels
from tests.detector.conftest import quietly, small


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
        ([1, 1, 1], "y is 1 in every row"),
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


def test_columns_without_names_are_found_by_their_place(
    detector: NearnormDetector, payments: pa.Table
) -> None:
    some = payments.slice(0, 50)
    nameless = [list(record.values()) for record in some.to_pylist()]
    np.testing.assert_array_equal(detector.decision_function(nameless), detector.decision_function(some))


def test_a_name_is_the_same_however_it_was_typed() -> None:
    values = np.random.default_rng(0).normal(size=(60, 2))
    composed, decomposed = "gr\u00f6\u00dfe", "gro\u0308\u00dfe"
    found = quietly(small(), pd.DataFrame(values, columns=[decomposed, "b"]))
    assert found.feature_names_in_.tolist() == [composed, "b"]
    for name in (composed, decomposed):
        assert len(found.predict(pd.DataFrame(values, columns=[name, "b"]))) == 60


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

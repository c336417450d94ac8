"""Equal rows share a number, and no others do, however Arrow lays them out."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearnorm.models.data.files.plain import TEXT, plain
from nearnorm.training.dataset.lake.contents import contents


def of(values: list[object], kind: pa.DataType | None = None, name: str = "x") -> list[int]:
    column = plain(pa.chunked_array([pa.array(values, kind)]))
    return [int(word) for word in contents(pa.table({name: column}))]


VALUES = [
    [1.5, -1.5, 0.1, 1e300, None],
    [1, 2, -3, None],
    [2**62, 2**62 + 1, 2**62 + 2],
    [True, False, None],
    ["", "a", "aa", "a" * 8, "a" * 9, "a" * 16, "a" * 17, "a" * 1_000, "ü", None],
    [b"", b"a", b"ab", None],
    [date(2026, 1, 31), date(2026, 2, 1), None],
    [datetime(2026, 1, 31, 10), datetime(2026, 1, 31, 10, 0, 1), None],
    [datetime(2026, 1, 31, 10, tzinfo=UTC), None],
    [time(9, 14), time(9, 15), None],
    [timedelta(seconds=1), timedelta(seconds=2), None],
    [[1], [1, 2], [], None],
    [{"a": 1}, {"a": 2}, None],
    [Decimal("1.5"), Decimal(2), None],
]


@pytest.mark.parametrize("values", VALUES, ids=lambda values: type(values[0]).__name__)
def test_values_that_differ_are_told_apart_and_equal_ones_are_not(values: list[object]) -> None:
    words = of([*values, *reversed(values)])
    assert words[: len(values)] == words[len(values) :][::-1]
    assert len(set(words)) == len(values)


def test_one_value_is_the_same_in_every_type_that_a_file_may_give_it() -> None:
    numbers = [pa.int8(), pa.int64(), pa.uint64(), pa.float32(), pa.float64(), pa.decimal128(5, 0)]
    assert len({tuple(of([5, None], kind)) for kind in numbers}) == 1
    assert of([0.0]) == of([-0.0])
    assert of([float("nan")], pa.float64()) == of([None], pa.null()) == of([None], pa.string())
    assert of(["a", None], pa.large_string()) == of(["a", None], pa.dictionary(pa.int8(), pa.string()))
    assert of([2**64 - 1], pa.uint64()) == of([2**64 - 1], pa.uint64()) != of([2**64 - 2], pa.uint64())


def test_columns_have_names_and_no_order() -> None:
    row = {"a": [1.0], "b": [2.0]}
    words = contents(pa.table(row))
    assert words == contents(pa.table({"b": row["b"], "a": row["a"]}))
    assert words != contents(pa.table({"a": row["b"], "b": row["a"]}))


texts = st.lists(st.one_of(st.none(), st.text(max_size=40)), min_size=1, max_size=30)


@settings(deadline=None)
@given(texts, st.integers(0, 10), st.integers(1, 7))
def test_a_text_s_number_is_its_own_whatever_stands_around_it(
    values: list[str | None], start: int, chunk: int
) -> None:
    alone = [of([value], pa.string())[0] for value in values]
    whole = pa.array(["before"] * start + values, pa.string())
    plain_ones = pa.chunked_array([whole[i : i + chunk] for i in range(start, len(whole), chunk)])
    for column in (plain_ones, plain_ones.cast(TEXT), plain_ones.cast(TEXT).unify_dictionaries()):
        assert contents(pa.table({"x": column})).tolist() == alone
    assert len(set(alone)) == len(set(values))


def test_numbers_fill_their_range_evenly() -> None:
    words = contents(pa.table({"x": np.arange(100_000)}))
    high, low = np.bincount((words >> np.uint64(60)).astype(int)), np.bincount((words % 16).astype(int))
    for counts in (high, low):
        assert abs(counts - 6_250).max() < 5 * np.sqrt(6_250)

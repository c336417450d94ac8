import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearnorm.models.data.files.plain import plain
from nearnorm.models.data.files.read import read_table
from nearnorm.models.data.schema import Feature, FeatureSchema, Kind
from nearnorm.models.data.tables import to_arrays
from nearnorm.models.errors import DataError


def schema(*features: Feature) -> FeatureSchema:
    return FeatureSchema(features=features)


def numeric(name: str, nullable: bool = True) -> Feature:
    return Feature(name=name, kind=Kind.NUMERIC, nullable=nullable)


def categorical(name: str, *categories: str) -> Feature:
    return Feature(name=name, kind=Kind.CATEGORICAL, categories=categories)


def test_an_empty_csv_field_is_missing_in_numbers_and_in_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('x,s\n1,tcp\n,udp\n3,\n4,""\n')
    table = read_table(str(tmp_path / "a.csv"))
    assert table.column("x").to_pylist() == [1, None, 3, 4]
    assert table.column("s").to_pylist() == ["tcp", "udp", None, None]


def test_words_like_null_and_na_are_text_not_missing_values(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,s\n1,NA\n2,null\n3,None\n")
    assert read_table(str(tmp_path / "a.csv")).column("s").to_pylist() == ["NA", "null", "None"]


def test_an_empty_text_of_a_parquet_file_is_a_category_and_not_missing(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1, 2, 3], "s": ["", None, "a"]}), tmp_path / "a.parquet")
    arrays = to_arrays(read_table(str(tmp_path / "a.parquet")), schema(categorical("s", "", "a")))
    assert arrays.codes[:, 0].tolist() == [2, 0, 3]


def test_a_decimal_that_python_cannot_hold_is_an_error_of_its_row() -> None:
    tiny = pa.Array.from_buffers(pa.decimal128(38, 400), 1, [None, pa.py_buffer(bytes([1] + [0] * 15))])
    arrays = to_arrays(pa.table({"s": tiny, "x": [1.0]}), schema(categorical("s", "a"), numeric("x")))
    assert arrays.errors[0].field == "s"
    assert arrays.errors[0].detail == "text was expected, not a value of type Decimal128Scalar"


@given(
    st.lists(
        st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9)
    )
)
def test_a_decimal_is_the_number_that_its_digits_are_in_json(sent: list[Decimal]) -> None:
    column = pa.chunked_array([pa.array(sent, pa.decimal128(38, 4))])
    wanted = [json.loads(str(decimal)) for decimal in sent]
    assert plain(column).to_pylist() == wanted
    found = to_arrays(pa.table({"x": column}), schema(numeric("x"))).numeric[:, 0]
    assert found.tolist() == wanted


def test_nan_in_a_file_is_missing(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1.0, float("nan")], "y": [1, 2]}), tmp_path / "a.parquet")
    table = read_table(str(tmp_path / "a.parquet"))
    arrays = to_arrays(table, schema(numeric("x")))
    assert table.column("x").null_count == 1
    assert arrays.missing[:, 0].tolist() == [False, True]
    assert not arrays.errors


def test_columns_asked_for_as_text_keep_their_leading_zeros(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,code\n1,007\n2,7\n")
    assert read_table(str(tmp_path / "a.csv"), ["code"]).column("code").to_pylist() == ["007", "7"]


def test_csv_and_parquet_of_the_same_rows_give_the_same_arrays(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,flag,s\n1.5,true,tcp\n,false,\n1700000000123,,udp\n")
    rows = {"x": [1.5, None, 1700000000123.0], "flag": [True, False, None], "s": ["tcp", None, "udp"]}
    pq.write_table(pa.table(rows), tmp_path / "a.parquet")
    features = schema(numeric("x"), Feature(name="flag", kind=Kind.BOOLEAN), categorical("s", "tcp"))
    one = to_arrays(read_table(str(tmp_path / "a.csv")), features)
    other = to_arrays(read_table(str(tmp_path / "a.parquet")), features)
    np.testing.assert_array_equal(one.numeric, other.numeric)
    np.testing.assert_array_equal(one.codes, other.codes)


def test_a_glob_reads_its_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("x,s\n3,c\n")
    (tmp_path / "a.csv").write_text("x,s\n1,a\n2.5,b\n")
    table = read_table(str(tmp_path / "*.csv"))
    assert table.column("x").to_pylist() == [1.0, 2.5, 3.0]
    assert table.column("s").to_pylist() == ["a", "b", "c"]


def test_a_file_whose_column_is_wholly_missing_joins_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,s\n1,\n")
    (tmp_path / "b.csv").write_text("x,s\n2,tcp\n")
    assert read_table(str(tmp_path / "*.csv")).column("s").to_pylist() == [None, "tcp"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "a.csv is empty"),
        ("a.csv", b"x,y\n", "holds no rows"),
        ("a.csv", b"x,x\n1,2\n", "names a column twice: x"),
        ("a.csv", b"x,y\n1,2\n1,2,3\n", "cannot be read as csv"),
        ("a.csv", b"x,y\n1,\x81\x8d\n", "neither UTF-8 nor cp1252 text: give --csv-encoding"),
        ("a.parquet", b"PAR1 but not really", "cannot be read as parquet"),
        ("a.parquet", b"", "is empty"),
        ("a.xlsx", b"x", "must end in .csv, "),
    ],
)
def test_a_file_that_is_no_table_is_refused_by_name(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_table(str(tmp_path / name))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_does_not_exist_and_an_empty_glob_are_refused_by_name(tmp_path: Path) -> None:
    for name in ("nothing.csv", "nothing-*.csv"):
        with pytest.raises(DataError, match="does not exist"):
            read_table(str(tmp_path / name))


def test_a_parquet_file_without_rows_is_refused(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"x": pa.array([], pa.int64()), "y": pa.array([], pa.int64())}), tmp_path / "a.parquet"
    )
    with pytest.raises(DataError, match="holds no rows"):
        read_table(str(tmp_path / "a.parquet"))


def test_files_of_a_glob_with_different_columns_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,s\n1,a\n")
    (tmp_path / "b.csv").write_text("x,t\n3,c\n")
    with pytest.raises(DataError, match=r"b\.csv and .*a\.csv have different columns: only one has s, t"):
        read_table(str(tmp_path / "*.csv"))


def test_a_column_that_changes_its_type_between_files_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,s\n1,a\n")
    (tmp_path / "b.csv").write_text("x,s\nhigh,c\n")
    with pytest.raises(DataError, match=r"column 'x' changes its type: int64 in .*a\.csv, text in .*b\.csv"):
        read_table(str(tmp_path / "*.csv"))


def test_unknown_categories_and_missing_ones_have_codes_of_their_own() -> None:
    table = pa.table({"s": ["tcp", None, "sctp", "udp"]})
    arrays = to_arrays(table, schema(categorical("s", "tcp", "udp")))
    assert arrays.codes[:, 0].tolist() == [2, 0, 1, 3]
    assert arrays.unknown[:, 0].tolist() == [False, False, True, False]
    assert arrays.missing[:, 0].tolist() == [False, True, False, False]


def test_codes_do_not_depend_on_how_a_column_is_cut_into_chunks() -> None:
    chunks = [pa.array(["b", "a"]).dictionary_encode(), pa.array(["a", None, "c"]).dictionary_encode()]
    arrays = to_arrays(pa.table({"s": pa.chunked_array(chunks)}), schema(categorical("s", "a", "b", "c")))
    assert arrays.codes[:, 0].tolist() == [3, 2, 2, 0, 4]


def test_large_integers_keep_their_differences() -> None:
    moments = [1_767_225_600_000_001, 1_767_225_600_000_002]
    arrays = to_arrays(pa.table({"t": moments}), schema(numeric("t")))
    assert np.diff(arrays.numeric[:, 0]).tolist() == [1.0]


def test_errors_name_the_first_field_of_a_row_that_is_wrong() -> None:
    table = pa.table(
        {
            "x": [1.0, float("inf"), 3.0, 4.0],
            "y": ["1", "2", "three", "4"],
            "flag": [0, 1, 2, 1],
            "z": [1, 2, 3, None],
        }
    )
    features = schema(
        numeric("x"), numeric("y"), Feature(name="flag", kind=Kind.BOOLEAN), numeric("z", nullable=False)
    )
    errors = to_arrays(table, features).errors
    assert {row: error.field for row, error in errors.items()} == {1: "x", 2: "y", 3: "z"}
    assert "'three'" in errors[2].detail
    assert "infinity" in errors[1].detail
    assert "missing" in errors[3].detail


def test_nan_that_an_arrow_sender_did_not_mean_as_null_is_an_error() -> None:
    errors = to_arrays(pa.table({"x": [1.0, float("nan")]}), schema(numeric("x"))).errors
    assert list(errors) == [1]


def test_lists_and_dates_are_errors_of_their_rows() -> None:
    table = pa.table({"x": [[1], [2]], "t": pa.array([0, None], pa.timestamp("us"))})
    errors = to_arrays(table, schema(numeric("t"), categorical("x"))).errors
    assert errors[0].field == "t"
    assert errors[1].field == "x"


def test_a_column_that_is_not_there_is_missing_in_every_row_and_a_strange_one_is_named() -> None:
    arrays = to_arrays(pa.table({"a": [1, 2], "new": [3, 4]}), schema(numeric("a"), categorical("s", "x")))
    assert arrays.missing.tolist() == [[False, True], [False, True]]
    assert arrays.extra == ("new",)


def test_a_schema_without_numbers_gives_arrays_of_no_width() -> None:
    arrays = to_arrays(pa.table({"s": ["a", "b"]}), schema(categorical("s", "a")))
    assert arrays.numeric.shape == (2, 0)
    assert arrays.codes.dtype == np.int64


@pytest.mark.parametrize("chunks", [1, 3])
@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.int64(), pa.int32(), pa.uint16()])
def test_plain_numbers_are_read_at_once_as_they_are_one_by_one(kind: pa.DataType, chunks: int) -> None:
    rng = np.random.default_rng(0)
    columns = {name: pa.array(rng.integers(0, 9_999, 40)).cast(kind) for name in "ab"}
    columns["b"] = pa.array(rng.normal(size=40) * 1e9)
    plain = pa.concat_tables([pa.table(columns)] * chunks)
    gap = pa.table({"a": pa.nulls(1, kind), "b": pa.nulls(1, pa.float64())})
    both = schema(numeric("b"), numeric("a"))
    at_once, one_by_one = to_arrays(plain, both), to_arrays(pa.concat_tables([plain, gap]), both)
    np.testing.assert_array_equal(at_once.numeric, one_by_one.numeric[:-1])
    assert at_once.numeric.dtype == np.float64
    assert one_by_one.missing[-1].all()


def test_one_infinity_among_plain_numbers_is_its_row_s_error() -> None:
    arrays = to_arrays(pa.table({"a": [1.0, float("inf"), 3.0]}), schema(numeric("a")))
    assert set(arrays.errors) == {1}


def test_text_of_a_parquet_file_that_is_no_utf_8_is_refused_by_its_column(tmp_path: Path) -> None:
    text = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(np.array([0, 2, 4], np.int32)), pa.py_buffer(b"ok\xff\xfe")]
    )
    pq.write_table(pa.table({"x": [1, 2], "s": text}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: column 's' is not UTF-8 text"):
        read_table(str(tmp_path / "a.parquet"))


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(2)])
def test_bytes_are_one_type_however_a_parquet_file_spells_them(tmp_path: Path, kind: pa.DataType) -> None:
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"raw": pa.array([b"DE", None], kind), "amount": [1.0, 2.0]}), file)
    assert read_table(str(file))["raw"].to_pylist() == [b"DE", None]
    assert read_table(str(file))["raw"].type == pa.binary()

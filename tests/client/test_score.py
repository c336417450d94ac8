"""Scores of records, columns and tables: the same numbers, whatever they come in and in how many requests."""

from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pyarrow as pa
import pytest

import nearnorm
from nearnorm.client import InvalidRequestError, TooLargeError, scoring
from nearnorm.client.frames import Data
from tests.service.asking import RECORD, STRANGE

BROKEN = (0, 999, 1000, 2499)


def made(rows: int) -> list[dict[str, Any]]:
    return [RECORD | {"amount": float(row % 90)} for row in range(rows)]


def columns_of(records: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [record[name] for record in records] for name in records[0]}


def shapes(records: list[dict[str, Any]]) -> dict[str, Data]:
    columns = columns_of(records)
    return {
        "records": records,
        "a generator": (record for record in records),
        "columns": columns,
        "arrays": {name: np.array(column) for name, column in columns.items()},
        "pandas": pd.DataFrame(records, index=range(7, 7 + len(records))),
        "categories": pd.DataFrame(records).astype({"country": "category", "channel": "category"}),
        "polars": pl.DataFrame(records),
        "polars' categories": pl.DataFrame(records).with_columns(pl.col("country").cast(pl.Categorical)),
        "Arrow": pa.Table.from_pylist(records),
        "Arrow's batches": pa.concat_tables(
            [pa.Table.from_pylist(records).slice(0, 3), pa.Table.from_pylist(records).slice(3)]
        ),
    }


@pytest.mark.parametrize("shape", shapes(made(5)))
def test_a_record_has_the_same_scores_whatever_it_comes_in(client: nearnorm.Client, shape: str) -> None:
    records = [*made(40), STRANGE]
    wanted = client.score(records)
    found = client.score(shapes(records)[shape])
    for name in ("score", "percentile", "anomaly", "prototype", "distance", "reconstruction_error"):
        assert found.columns[name] == wanted.columns[name], name
    assert (found.version, found.warnings, found.errors) == (wanted.version, [], [])
    assert found[-1]["anomaly"]
    assert len(found) == len(list(found)) == 41


@pytest.mark.parametrize("shape", ["records", "columns", "pandas", "polars", "Arrow"])
def test_errors_have_their_place_among_all_that_was_sent(client: nearnorm.Client, shape: str) -> None:
    records = [RECORD | {"country": "x" * 1_001} if row in BROKEN else RECORD for row in range(2_500)]
    found = client.score(shapes(records)[shape])
    assert [error["index"] for error in found.errors] == list(BROKEN)
    assert {(error["type"], error["field"]) for error in found.errors} == {
        ("urn:nearnorm:problem:invalid-value", "country")
    }
    assert found[999]["error"]["field"] == "country"
    assert [row for row, score in enumerate(found.columns["score"]) if score is None] == list(BROKEN)
    assert "error" not in found[998]


def test_ids_and_strictness_go_with_each_part(client: nearnorm.Client) -> None:
    records = [RECORD | ({"colour": "red"} if row == 1_500 else {}) for row in range(2_000)]
    found = client.score(records, ids=[f"tx-{row}" for row in range(2_000)], strict=True)
    assert found[1_999]["id"] == "tx-1999"
    assert [(error["index"], error["id"]) for error in found.errors] == [(1_500, "tx-1500")]
    assert client.score(records).warnings == ["unknown field 'colour' was ignored"]


@pytest.mark.parametrize("key", ["small", "short"])
def test_a_limit_that_only_the_service_knows_makes_the_parts_smaller(
    address: tuple[str, dict[str, str]], key: str
) -> None:
    url, keys = address
    with nearnorm.Client(url, api_key=keys[key]) as client:
        assert len(client.score(made(1_000))) == 1_000
        if key == "short":
            with pytest.raises(TooLargeError) as caught:
                client.score([RECORD | {"note": "x" * 3_000}])
            assert caught.value.name == "body-too-large"


def test_a_hundred_thousand_rows_go_in_parts(client: nearnorm.Client) -> None:
    frame = pd.DataFrame({name: [value] * 100_000 for name, value in RECORD.items()})
    frame.loc[99_999, "amount"] = 900.0
    found = client.score(frame)
    assert len(found) == 100_000
    assert found.columns["anomaly"].count(True) == 1
    assert found[99_999]["anomaly"]
    assert len(pd.DataFrame(found.columns)) == 100_000


@pytest.mark.parametrize("shape", ["records", "columns", "pandas", "polars", "Arrow"])
def test_what_python_calls_missing_is_missing(client: nearnorm.Client, shape: str) -> None:
    records = [RECORD | {"epoch": float("nan"), "country": None}, RECORD | {"epoch": 1.7e9}]
    assert client.score(shapes(records)[shape])[0]["imputed"] == ["epoch", "country"]


def test_values_of_other_libraries_are_sent_as_what_they_are(client: nearnorm.Client) -> None:
    from decimal import Decimal

    strange = {"amount": np.float32(61.5), "epoch": pd.NA, "new device": np.bool_(False), "country": "DE"}
    found = client.score([strange | {"channel": "web"}, RECORD | {"amount": Decimal("61.5")}])
    assert found[0]["imputed"] == ["epoch"]
    assert found.errors == []
    assert client.score([RECORD | {"amount": float("inf")}]).errors[0]["field"] == "amount"


def test_reasons_come_with_the_groups_they_speak_of(client: nearnorm.Client) -> None:
    found = client.score(pd.DataFrame([STRANGE]), explain=True)
    assert found[0]["reasons"][0]["feature"] == "amount"
    assert str(found[0]["prototype"]) in found.groups


def test_what_analysts_said_comes_with_a_frame_s_verdicts_too(client: nearnorm.Client) -> None:
    said = RECORD | {"amount": 77.25}
    client.label({"record": said, "label": "anomaly"}, analyst="mei")
    assert client.score([said])[0]["matched_feedback"]["label"] == "anomaly"
    assert client.score(pd.DataFrame([said]))[0]["anomaly"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (RECORD, "amount: not a list of values"),
        ({"amount": [1.0, 2.0], "epoch": [1.0]}, "epoch: 1 values, and others have 2"),
        ([RECORD, 7], "records[1] is of type int"),
        ("amount", "str: send a list of records"),
        (pl.LazyFrame([RECORD]), "collect()"),
        ([{"amount": b"x"}], "bytes cannot be sent"),
    ],
)
def test_what_cannot_be_sent_is_said_before_anything_is(
    client: nearnorm.Client, data: Any, words: str
) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        client.score(data)
    assert words in str(caught.value)


def test_of_no_rows_the_service_says_what_it_misses(client: nearnorm.Client) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        client.score([])
    assert caught.value.field == "records"
    with pytest.raises(ValueError, match="ids: 1 for 2 rows"):
        client.score([RECORD] * 2, ids=["one"])


def test_a_table_goes_as_columns_where_there_is_no_pyarrow(
    client: nearnorm.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pd.DataFrame([RECORD | {"epoch": float("nan")}, STRANGE])
    wanted = client.score(frame)
    monkeypatch.setattr("nearnorm.client.frames._arrow_table", lambda data: None)
    assert client.score(frame).columns["score"] == wanted.columns["score"]
    assert client.score(pl.from_pandas(frame)).columns["score"] == wanted.columns["score"]


def test_the_first_part_is_within_what_the_service_documents() -> None:
    assert nearnorm_settings()["max_rows"] == scoring.MOST_ROWS
    assert nearnorm_settings()["max_body_bytes"] == scoring.MOST_BYTES


def nearnorm_settings() -> dict[str, Any]:
    from nearnorm.service.settings import Settings

    return {name: field.default for name, field in Settings.model_fields.items()}

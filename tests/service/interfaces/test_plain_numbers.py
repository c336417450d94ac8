"""Large tensors of plain numbers, which have a way of their own: they are answered as any others."""

import json
from typing import Any

import httpx
import numpy as np
import pytest

from nearnorm.service.interfaces.open_inference.plain_numbers import LEAST, decode_plain

ROWS, WIDTH = 1_000, 9
INFER = "/v2/models/default/infer"


@pytest.fixture(scope="module")
def table() -> list[list[float]]:
    found: list[list[float]] = np.random.default_rng(0).normal(50, 20, (ROWS, WIDTH)).round(2).tolist()
    return found


def matrix(data: list[Any], **more: Any) -> dict[str, Any]:
    return {"name": "rows", "shape": [ROWS, WIDTH], "datatype": "FP64", "data": data, **more}


def flat(table: list[list[float]]) -> list[Any]:
    return [value for row in table for value in row]


def written(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


def outputs(client: httpx.Client, body: bytes) -> list[dict[str, Any]]:
    answer = client.post(INFER, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["outputs"]
    return found


def test_a_flat_tensor_is_answered_as_a_nested_one_and_as_columns(
    starter: httpx.Client, table: list[list[float]]
) -> None:
    asked = [{"name": name} for name in ("score", "percentile", "distance")]  # a verdict knows novelty too
    plain, nested = (written({"inputs": [matrix(d)], "outputs": asked}) for d in (flat(table), table))
    columns = [
        {"name": f"f{j + 1}", "shape": [ROWS], "datatype": "FP32", "data": [row[j] for row in table]}
        for j in range(WIDTH)
    ]
    by_name = written({"inputs": columns, "outputs": [{"name": "score"}]})
    assert decode_plain(plain) is not None
    assert decode_plain(by_name) is not None
    assert decode_plain(nested) is None
    found = outputs(starter, plain)
    assert found == outputs(starter, nested)
    assert found[0] == outputs(starter, by_name)[0]


def test_a_null_among_plain_numbers_is_missing(starter: httpx.Client, table: list[list[float]]) -> None:
    asked = {"outputs": [{"name": "imputed"}]}
    data = flat(table)
    data[4] = None
    body = written({"inputs": [matrix(data)], **asked})
    assert decode_plain(body) is None
    assert outputs(starter, body)[0]["data"][:2] == ['["f5"]', "[]"]


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [ROWS, WIDTH - 1]},
        {"shape": [ROWS + 1, WIDTH]},
        {"shape": [ROWS]},
        {"datatype": "BOOL"},
        {"data": {"a": 1}},
    ],
)
def test_a_mistake_in_large_tensors_is_told_as_in_small_ones(
    starter: httpx.Client, table: list[list[float]], change: dict[str, Any]
) -> None:
    body = {"inputs": [{**matrix(flat(table)), **change}], "parameters": {"note": "x" * LEAST}}
    answer = starter.post(INFER, json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["field"]
    assert answer.json()["error"]


def test_a_name_that_stands_twice_is_left_to_the_other_decoder(table: list[list[float]]) -> None:
    body = written({"inputs": [matrix(flat(table))]})
    assert decode_plain(body) is not None
    assert decode_plain(body.replace(b'"datatype"', b'"shape": [9000], "datatype"')) is None


def test_an_infinity_that_json_can_write_is_its_rows_error(
    starter: httpx.Client, table: list[list[float]]
) -> None:
    body = written({"inputs": [matrix(flat(table))]}).replace(b'"data": [', b'"data": [1e999, ', 1)
    body = body.replace(f"[1e999, {table[0][0]}".encode(), b"[1e999", 1)
    answer = starter.post(INFER, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text

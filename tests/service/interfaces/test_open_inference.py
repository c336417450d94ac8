"""The Open Inference Protocol over HTTP: the same rows get what /score says of them."""

import json
from typing import Any

import httpx
import pytest

from nearnorm.service.interfaces.open_inference.tensors import decode, rows_of
from tests.service.asking import RECORD, STRANGE, problem
from tests.service.waiting import logged, until

INFER = "/v2/models/default/infer"
DATATYPES = {float: "FP64", int: "INT64", bool: "BOOL", str: "BYTES"}
COLUMNS = ("score", "percentile", "anomaly", "prototype", "distance", "reconstruction_error")


def tensors(*records: dict[str, Any]) -> list[dict[str, Any]]:
    """A tensor for each field of the records."""
    return [
        {
            "name": name,
            "shape": [len(records)],
            "datatype": DATATYPES[type(records[0][name])],
            "data": [record.get(name) for record in records],
        }
        for name in records[0]
    ]


def infer(client: httpx.Client, *records: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The outputs by name."""
    answer = client.post(INFER, json={"inputs": tensors(*records), **more})
    assert answer.status_code == 200, answer.text
    return {one["name"]: one["data"] for one in answer.json()["outputs"]}


def refusal(response: httpx.Response, status: int) -> dict[str, Any]:
    """An error in the protocol's shape, with our problem's fields."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    told: dict[str, Any] = response.json()
    assert told["error"] == told["detail"]
    assert told["status"] == status
    return told


def test_tensors_by_feature_name_get_the_answers_of_score(client: httpx.Client) -> None:
    columns = {name: [RECORD[name], STRANGE[name]] for name in RECORD}
    scored = client.post("/score", json={"columns": columns}).json()["results"]
    outputs = infer(client, RECORD, STRANGE)
    assert {name: outputs[name] for name in COLUMNS} == {name: scored[name] for name in COLUMNS}
    assert list(outputs) == list(COLUMNS)


def test_a_column_may_lie_and_null_is_missing_whatever_the_datatype(client: httpx.Client) -> None:
    gone = RECORD | {"country": None}
    standing = tensors(RECORD, gone)
    lying = [one | {"shape": [2, 1], "data": [[value] for value in one["data"]]} for one in standing]
    asked = [{"name": "imputed"}, {"name": "score"}]
    one, other = (
        client.post(INFER, json={"inputs": inputs, "outputs": asked}).json()["outputs"]
        for inputs in (standing, lying)
    )
    assert one == other
    assert one[0]["data"][0] == "[]"
    assert json.loads(one[0]["data"][1]) == ["country"]


def test_an_id_is_echoed_and_rows_are_told_apart_by_a_tensor(client: httpx.Client) -> None:
    ids = {"name": "id", "shape": [2], "datatype": "BYTES", "data": ["oip-a", "oip-b"]}
    body = {"id": "request-7", "inputs": [*tensors(RECORD, STRANGE), ids], "outputs": [{"name": "id"}]}
    answer = client.post(INFER, json=body).json()
    assert answer["id"] == "request-7"
    assert answer["outputs"] == [
        {"name": "id", "shape": [2], "datatype": "BYTES", "data": ["oip-a", "oip-b"]}
    ]


def test_reasons_are_an_output_and_those_of_score(client: httpx.Client) -> None:
    explained = client.post("/score", json={"records": [STRANGE], "explain": True}).json()["results"][0]
    by_name = infer(client, STRANGE, outputs=[{"name": "reasons"}])["reasons"]
    by_parameter = infer(client, STRANGE, parameters={"explain": True})["reasons"]
    assert by_name == by_parameter
    assert json.loads(by_name[0]) == explained["reasons"]
    assert explained["reasons"]


def test_a_row_is_kept_and_labelled_as_any_other(client: httpx.Client) -> None:
    kept = infer(client, STRANGE | {"amount": 4321.5}, outputs=[{"name": "event_id"}])["event_id"][0]
    assert kept  # an anomaly: alerts are kept
    until(lambda: logged(client))
    said = client.post("/feedback", json={"labels": [{"event_id": kept, "label": "anomaly"}]})
    assert said.status_code == 201
    matched = infer(client, STRANGE | {"amount": 4321.5}, outputs=[{"name": "matched_feedback"}])
    assert json.loads(matched["matched_feedback"][0])["label"] == "anomaly"


def test_a_row_that_does_not_fit_refuses_the_request_and_names_row_field_and_mend(
    client: httpx.Client,
) -> None:
    inputs = tensors(RECORD, RECORD)
    inputs[0] = {"name": "amount", "shape": [2], "datatype": "BYTES", "data": ["12.5", "much"]}
    told = refusal(client.post(INFER, json={"inputs": inputs}), 400)
    assert told["field"] == "amount"
    assert "row 1" in told["error"]
    assert told["errors"][0]["index"] == 1
    asked = [{"name": "score"}, {"name": "error"}]
    found = client.post(INFER, json={"inputs": inputs, "outputs": asked}).json()["outputs"]
    score, error = (one["data"] for one in found)
    assert score[0] is not None
    assert score[1] is None
    assert error[0] == ""
    assert json.loads(error[1])["field"] == "amount"


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "the body is empty"),
        (b"{", "JSON"),
        (b"[]", "object"),
        (b'{"inputs": []}', "inputs"),
        (b'{"inputs": [{"name": "amount", "shape": [1], "datatype": "FP65", "data": [1]}]}', "datatype"),
        (b'{"inputs": [{"name": "amount", "shape": [-1], "datatype": "FP64", "data": [1]}]}', "shape"),
        (b'{"inputs": [{"name": "amount", "shape": [2], "datatype": "FP64", "data": [1]}]}', "amount"),
        (b'{"inputs": [{"name": "amount", "shape": [1], "datatype": "INT8", "data": [300]}]}', "INT8"),
        (b'{"inputs": [{"name": "amount", "shape": [1], "datatype": "BOOL", "data": [1]}]}', "BOOL"),
        (b'{"inputs": [{"name": "colour", "shape": [1], "datatype": "FP64", "data": [1]}]}', "metadata"),
        (b'{"inputs": [{"name": "x", "shape": [1, 9], "datatype": "FP64", "data": [1]}]}', "x"),
        (
            b'{"inputs": [{"name": "amount", "shape": [1], "datatype": "FP64", "data": [1]}],'
            b' "outputs": [{"name": "colour"}]}',
            "colour",
        ),
        (
            b'{"inputs": [{"name": "amount", "shape": [1], "datatype": "FP64", "data": [1]},'
            b' {"name": "amount", "shape": [1], "datatype": "FP64", "data": [1]}]}',
            "twice",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(client: httpx.Client, body: bytes, word: str) -> None:
    answer = client.post(INFER, content=body, headers={"content-type": "application/json"})
    told = refusal(answer, 400)
    assert word in told["error"] + str(told.get("field"))


def test_a_large_request_gets_row_for_row_what_small_ones_get(client: httpx.Client) -> None:
    """By the process that reads long bodies."""
    records = [RECORD | {"amount": 20.0 + i} for i in range(3_000)]
    whole = infer(client, *records)["score"]
    parts = [infer(client, *records[i : i + 1_000])["score"] for i in range(0, 3_000, 1_000)]
    assert whole == [score for part in parts for score in part]


def test_rows_are_counted_by_the_longest_tensor_whichever_comes_first() -> None:
    """What the first of them says is not enough: many rows are for the process beside."""
    short = {"name": "zzz", "shape": [1], "datatype": "FP64", "data": [1]}
    long = {"name": "amount", "shape": [3_000], "datatype": "FP64", "data": [1] * 3_000}
    assert rows_of(decode(json.dumps({"inputs": [short, long]}).encode())) == 3_000


def test_the_server_and_the_model_say_what_they_are(client: httpx.Client) -> None:
    assert client.get("/v2").json()["name"] == "nearnorm"
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2/models/default/ready").json() == {"name": "default", "ready": True}
    told = client.get("/v2/models/default").json()
    (version,) = told["versions"]
    assert {one["name"]: one["datatype"] for one in told["inputs"]}.items() >= {
        "amount": "FP64",
        "new device": "BOOL",
        "country": "BYTES",
    }.items()
    assert [one["name"] for one in told["outputs"]][: len(COLUMNS)] == list(COLUMNS)
    by_version = client.post(f"/v2/models/default/versions/{version}/infer", json={"inputs": tensors(RECORD)})
    assert by_version.json()["model_version"] == version


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v2/models/nobody/infer", 404),
        ("POST", "/v2/models/default/versions/9/infer", 404),
        ("GET", "/v2/models/default/versions/9", 404),
        ("GET", "/v2/nothing", 404),
        ("GET", INFER, 405),
        ("POST", "/v2", 405),
    ],
)
def test_what_is_not_there_is_told_in_the_protocols_shape(
    client: httpx.Client, method: str, path: str, status: int
) -> None:
    refusal(client.request(method, path, json={"inputs": tensors(RECORD)}), status)


def test_other_content_and_other_questions_are_refused(client: httpx.Client) -> None:
    refusal(client.post(INFER, content=b"x", headers={"content-type": "text/plain"}), 415)
    refusal(client.post(f"{INFER}?colour=red", json={"inputs": tensors(RECORD)}), 400)
    problem(client.post("/score", json={"records": []}), 422, "invalid-request")  # /score keeps its own shape

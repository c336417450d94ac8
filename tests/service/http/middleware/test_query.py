"""A query parameter that a route does not read is refused, whichever way the request goes."""

import re

import pytest
from httpx import Client

from tests.service.scoring.test_endpoint import RECORD, problem

RECORDS = {"records": [RECORD]}
PROBES = ("/healthz", "/readyz", "/metrics")


@pytest.mark.parametrize("path", ["/queue", "/jobs", "/models", "/policy", "/drift"])
def test_a_misspelt_parameter_is_named(client: Client, path: str) -> None:
    found = problem(client.get(path, params={"limt": 5}), 422, "invalid-request")
    assert found["field"] == "limt"
    assert "'limt'" in found["detail"]


def test_no_described_route_overlooks_one(client: Client) -> None:
    asked = 0
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        if path in PROBES or path.startswith("/v2"):  # which refuses in a shape of its own
            continue
        for method in operations:
            response = client.request(method, re.sub(r"{.*?}", "1", path), params={"zz": 1})
            assert response.status_code == 422, (method, path, response.text)
            asked += 1
    assert asked > 20


def test_what_the_route_reads_is_told_with_it(client: Client) -> None:
    detail = client.get("/queue", params={"limit": 5, "modle": "cards"}).json()["detail"]
    assert (
        detail == "there is no query parameter 'modle' here: this route reads cursor, explain, limit, model"
    )


def test_a_parameter_without_a_name_is_one_too(client: Client) -> None:
    assert problem(client.get("/audit?=5"), 422, "invalid-request")["field"] == ""


def test_a_model_beside_json_is_refused_and_not_overlooked(client: Client) -> None:
    found = problem(client.post("/score?model=cards", json=RECORDS), 422, "invalid-request")
    assert found["field"] == "model"


def test_probes_may_ask_as_they_like(client: Client) -> None:
    for path in PROBES:
        assert client.get(path, params={"probe": "a"}).status_code == 200

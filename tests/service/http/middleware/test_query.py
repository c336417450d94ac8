"""A query parameter that a route does not read is refused, whichever way the request goes."""

import re
from pathlib import Path

import pytest
from fastapi.routing import APIRoute
from httpx import Client

from nearnorm.service.api.dependencies import parameters
from nearnorm.service.app import create_app
from nearnorm.service.settings import Settings
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


def test_every_route_reads_what_it_is_described_to_read(tmp_path: Path) -> None:
    app = create_app(Settings(home=tmp_path))
    described = app.openapi()["paths"]
    routes = [route for route in app.routes if isinstance(route, APIRoute) and route.include_in_schema]
    for route in routes:
        for method in route.methods or ():
            told = described[route.path_format][method.lower()].get("parameters", [])
            assert parameters(route.dependant) == {one["name"] for one in told if one["in"] == "query"}
    assert len(routes) > 20


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

"""docs/api.md and /openapi.json say what the service does: their examples are sent, their tables tried."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from nearnorm.service.app import create_app
from nearnorm.service.errors import TYPE_PREFIX, ServiceError
from nearnorm.service.settings import Settings
from tests.service.pages.test_docs_page import BODIES
from tests.service.running import serving

NDJSON = "application/x-ndjson"
PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
EXAMPLES = re.findall(
    r"```json request (\w+) (\S+)\n(.*?)```.*?```json answer (\d+)\n(.*?)```", PAGE, flags=re.DOTALL
)


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with serving(create_app(Settings(home=tmp_path_factory.mktemp("home")))) as client:
        yield client


def shape(value: object) -> object:
    """Keys and types of a JSON value; texts as they are, but for digests."""
    if isinstance(value, dict):
        if "…" in value:
            return "…"
        return {key: "…" if key in ("version", "groups") else shape(v) for key, v in value.items()}
    if isinstance(value, list):
        return [shape(v) for v in value]
    return "number" if isinstance(value, float) else value


@pytest.mark.parametrize(("method", "path", "request_body", "status", "answer"), EXAMPLES)
def test_the_pages_requests_get_the_pages_answers(
    starter: httpx.Client, method: str, path: str, request_body: str, status: str, answer: str
) -> None:
    response = starter.request(method, path, json=json.loads(request_body))
    assert response.status_code == int(status)
    found = response.json()
    results = found.get("results", [])
    for result in results if isinstance(results, list) else [results]:
        result.pop("event_id", None)  # there by chance: a random slice of traffic is kept
    assert shape(found) == shape(json.loads(answer))


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) >= 3


def problems(kind: type[ServiceError]) -> Iterator[type[ServiceError]]:
    for sub in kind.__subclasses__():
        yield sub
        yield from problems(sub)


def test_every_type_of_problem_is_on_the_page_with_its_status() -> None:
    documented = dict(re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", PAGE, flags=re.M))
    assert TYPE_PREFIX == "urn:nearnorm:problem:"
    assert documented == {kind.name: str(kind.status) for kind in problems(ServiceError)}


def test_every_route_is_on_the_page(starter: httpx.Client) -> None:
    table = PAGE.partition("## Scoring")[0]
    for path, operations in starter.get("/openapi.json").json()["paths"].items():
        for method in operations:
            assert f"`{method.upper()} {path}`" in table


def test_the_openapi_examples_run(starter: httpx.Client) -> None:
    document = starter.get("/openapi.json").json()
    examples: dict[str, Any] = document["paths"]["/score"]["post"]["requestBody"]["content"][
        "application/json"
    ]["examples"]
    for example in examples.values():
        response = starter.post("/score", json=example["value"])
        assert response.status_code == 200, response.text
        assert '"error"' not in response.text
        assert '"errors"' not in response.text
        assert "warnings" not in response.json()


def test_the_openapi_example_of_lines_runs(starter: httpx.Client) -> None:
    post = starter.get("/openapi.json").json()["paths"]["/score"]["post"]
    example = post["requestBody"]["content"][NDJSON]["example"]
    answer = starter.post("/score", content=example, headers={"Content-Type": NDJSON})
    assert answer.text.count('"score"') == answer.text.count("\n") == 2
    assert NDJSON in post["responses"]["200"]["content"]


def test_every_body_has_an_example_and_is_tried_at_docs(starter: httpx.Client) -> None:
    paths = starter.get("/openapi.json").json()["paths"]
    bodies = {
        (method, path): operation["requestBody"]["content"]["application/json"]
        for path, operations in paths.items()
        for method, operation in operations.items()
        if "requestBody" in operation
    }
    assert [name for name, media in bodies.items() if not {"example", "examples"} & media.keys()] == []
    assert bodies.keys() == BODIES.keys()


def test_the_openapi_document_describes_the_models_own_fields(starter: httpx.Client) -> None:
    post = starter.get("/openapi.json").json()["paths"]["/score"]["post"]
    schema = post["requestBody"]["content"]["application/json"]["schema"]
    assert "f1" in schema["properties"]["records"]["items"]["properties"]
    assert {"200", "400", "422", "429", "503"} <= post["responses"].keys()

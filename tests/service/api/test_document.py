"""The OpenAPI document is made once, whoever asks for it or for what it knows."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import msgspec
import pytest

from nearnorm.service.api.openapi import document, score_answer
from nearnorm.service.records import shapes
from tests.contract.attack import guarded_service
from tests.service.scoring.test_endpoint import problem


@pytest.fixture(scope="module")
def described() -> Iterator[Counter[str]]:
    """How often the routes, and how often /score, are described."""
    calls: Counter[str] = Counter()

    def counted(name: str) -> Callable[..., Any]:
        describe = getattr(document, name)

        def noted(*given: Any, **named: Any) -> Any:
            calls[name] += 1
            return describe(*given, **named)

        return noted

    with pytest.MonkeyPatch.context() as patch:
        for name in ("get_openapi", "_score_body"):
            patch.setattr(document, name, counted(name))
        yield calls


@pytest.fixture(scope="module")
def client(described: Counter[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with guarded_service(tmp_path_factory.mktemp("home")) as (client, _):
        yield client


def test_the_routes_are_described_once(client: httpx.Client, described: Counter[str]) -> None:
    for _ in range(3):
        assert client.get("/openapi.json").status_code == 200
        assert client.get("/jobs?limit=1").status_code == 200
        problem(client.get("/jobs?x=1"), 422, "invalid-request")
        problem(client.patch("/jobs/x"), 405, "method-not-allowed")
        problem(client.get("/nope"), 404, "not-found")
    assert described == {"get_openapi": 1, "_score_body": 1}


def test_a_model_is_described_from_when_it_serves(client: httpx.Client, described: Counter[str]) -> None:
    before = described["_score_body"]
    versions = [model["version"] for model in client.get("/models").json()["models"]]
    serving = client.get("/readyz").json()["models"][0]["version"]
    other = next(version for version in versions if version != serving)
    assert client.post(f"/models/{other}/activate").status_code == 200
    for _ in range(3):
        assert client.get("/openapi.json").status_code == 200
    assert described == {"get_openapi": 1, "_score_body": before + 1}


def test_every_field_of_scores_answer_is_described() -> None:
    described = score_answer.schemas()
    shapes_of: dict[str, type[msgspec.Struct]] = {"Answer": shapes.Answer, "Result": shapes.Result}
    for name, shape in shapes_of.items():
        assert list(described[f"Score{name}"]["properties"]) == [
            field.encode_name for field in msgspec.structs.fields(shape)
        ]


def test_a_route_names_its_methods_and_a_path_without_a_parameter_goes_first(client: httpx.Client) -> None:
    for path, allowed in (
        ("/jobs/x", "DELETE, GET, HEAD"),
        ("/models/rollback", "POST"),
        ("/models/x", "GET, HEAD"),
    ):
        refused = client.put(path)
        problem(refused, 405, "method-not-allowed")
        assert refused.headers["allow"] == allowed
    problem(client.post("/openapi.json"), 405, "method-not-allowed")


def test_the_key_is_looked_at_before_the_query(client: httpx.Client) -> None:
    for path in ("/jobs?x=1", "/queue?limit=ten", "/audit?x=1", "/drift?x=1"):
        stranger = httpx.get(f"{client.base_url}{path}", timeout=60)
        problem(stranger, 401, "unauthorized")

"""What operators ask, and the one shape of errors on every route."""

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.errors import PROBLEM, TYPE_PREFIX
from tests.service.scoring.test_endpoint import RECORD, problem


def value(client: httpx.Client, name: str, **labels: str) -> float:
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return float(sample.value)
    return 0.0


def test_the_service_is_alive_and_ready(client: httpx.Client, bundle: Bundle) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    ready = client.get("/readyz").json()
    assert ready["ready"] is True
    assert ready["problems"] == []
    assert ready["models"] == [
        {"name": "default", "version": bundle.version, "provider": "CPUExecutionProvider"}
    ]


def test_requests_rows_errors_and_anomalies_are_counted(client: httpx.Client) -> None:
    names = ("nearnorm_rows_total", "nearnorm_row_errors_total", "nearnorm_anomalies_total")
    before = [value(client, name, model="default") for name in names]
    batches = value(client, "nearnorm_batch_rows_count")
    answered = value(client, "nearnorm_requests_total", route="/score", status="200", method="POST")
    strange = RECORD | {"amount": 1e6}
    client.post("/score", json={"records": [RECORD, strange, {}]})
    after = [value(client, name, model="default") for name in names]
    assert [b - a for a, b in zip(before, after, strict=True)] == [2, 1, 1]
    assert value(client, "nearnorm_batch_rows_count") == batches + 1
    assert (
        value(client, "nearnorm_requests_total", route="/score", status="200", method="POST") == answered + 1
    )


def test_every_metric_that_is_promised_is_there(client: httpx.Client, bundle: Bundle) -> None:
    client.post("/score", json={"records": [RECORD]})
    client.get("/readyz")
    for name in (
        "nearnorm_request_seconds_bucket",
        "nearnorm_batch_rows_bucket",
        "nearnorm_queue_seconds_count",
        "nearnorm_inference_seconds_count",
        "nearnorm_score_bucket",
    ):
        assert value(client, name) >= 0
        assert name in client.get("/metrics").text
    labels = {"version": bundle.version, "provider": "CPUExecutionProvider", "model": "default"}
    assert value(client, "nearnorm_model_info", **labels) == 1


def test_requests_are_counted_by_route_template(client: httpx.Client, bundle: Bundle) -> None:
    client.get(f"/models/{bundle.version}")
    client.get("/nowhere/at/all")
    text = client.get("/metrics").text
    assert 'route="/models/{version}"' in text
    assert 'route="unmatched"' in text
    assert bundle.version not in "".join(line for line in text.splitlines() if "requests" in line)
    assert "nowhere" not in text


def test_an_unknown_route_and_a_wrong_method_are_problems(client: httpx.Client) -> None:
    problem(client.get("/nowhere"), 404, "not-found")
    response = client.delete("/healthz")
    problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "GET, HEAD"


def test_a_wrong_parameter_is_a_problem_that_names_it(client: httpx.Client) -> None:
    found = problem(client.get("/models", params={"limit": 0}), 422, "invalid-request")
    assert found["field"] == "limit"
    assert found["errors"][0]["field"] == "limit"
    problem(client.get("/models", params={"cursor": "x"}), 422, "invalid-request")


def test_a_version_tells_its_manifest(client: httpx.Client, bundle: Bundle) -> None:
    (model,) = client.get("/models").json()["models"]
    assert (model["version"], model["serves"]) == (bundle.version, ["default"])
    assert (model["activated"]["action"], model["activated"]["by"]) == ("activate", "test")
    manifest = client.get(f"/models/{bundle.version}").json()
    assert manifest["core"]["features"]["features"][1]["name"] == "amount"


@pytest.mark.parametrize("version", ["unknown", "a b", "%2e%2e"])
def test_a_version_that_is_not_there_is_a_problem(client: httpx.Client, version: str) -> None:
    response = client.get(f"/models/{version}")
    assert response.status_code == 404
    assert response.headers["content-type"] == PROBLEM
    assert response.json()["type"].startswith(TYPE_PREFIX)

"""What tests send to the service, and the one shape of every error."""

from typing import Any

import httpx

from nearnorm.service.errors import PROBLEM, TYPE_PREFIX

RECORD: dict[str, Any] = {
    "amount": 61.5,
    "epoch": 1700000123,
    "new device": False,
    "country": "DE",
    "channel": "web",
}
STRANGE = RECORD | {"amount": 900.0}


def score(client: httpx.Client, record: dict[str, Any], id_: str | None = None) -> dict[str, Any]:
    """The result of one record."""
    body = {"records": [record]} | ({"ids": [id_]} if id_ else {})
    answer = client.post("/score", json=body)
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()["results"][0]
    return result


def label(client: httpx.Client, *labels: Any, key: str | None = None) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return client.post("/feedback", json={"labels": list(labels)}, headers=headers)


def stored(response: httpx.Response) -> list[str]:
    """The feedback ids of a request that was taken."""
    assert response.status_code == 201, response.text
    return [receipt["feedback_id"] for receipt in response.json()["receipts"]]


def problem(response: httpx.Response, status: int, name: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM
    found: dict[str, Any] = response.json()
    assert found["type"] == TYPE_PREFIX + name
    assert found["status"] == status
    assert found["title"]
    assert found["detail"]
    return found


def mistakes(response: httpx.Response) -> list[tuple[int, str, str | None]]:
    """(index, kind, field) of every item that was refused."""
    errors = problem(response, 422, "invalid-request")["errors"]
    return [(e["index"], e["type"].removeprefix(TYPE_PREFIX), e.get("field")) for e in errors]

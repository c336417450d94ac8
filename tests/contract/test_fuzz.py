"""A few of the fuzzed requests, always the same ones; `make fuzz` sends 100,000 new ones."""

import random
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.contract.attack import guarded_service, server_errors
from tests.contract.fuzz import Fuzzer
from tests.contract.fuzz_wire import WireFuzzer
from tests.contract.mutate import hostile
from tests.service.scoring.test_endpoint import RECORD, problem

Guarded = tuple[httpx.Client, str]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded_service(tmp_path_factory.mktemp("home")) as guarded:
        yield guarded


def test_no_fuzzed_body_breaks_a_promise(service: Guarded) -> None:
    client, secret = service
    fuzzer = Fuzzer(client, secret, seed=8)
    for number in range(400):
        fuzzer.send(number)
    fuzzer.connection.close()
    assert server_errors(client) == []
    assert fuzzer.report.broken == []
    assert {"/score 200", "/score 400", "/score 422", "/feedback 201"} <= fuzzer.report.statuses.keys()


def test_nothing_that_is_almost_http_breaks_a_promise(service: Guarded) -> None:
    client, secret = service
    fuzzer = WireFuzzer(client, secret, seed=3)
    for number in range(60):
        fuzzer.send(number)
    assert server_errors(client) == []
    assert fuzzer.report.broken == []
    assert {"trailer 200", "upgrade 200", "length 400"} <= fuzzer.report.statuses.keys()


@pytest.mark.parametrize("number", range(60))
def test_no_hostile_body_breaks_a_promise(service: Guarded, number: int) -> None:
    client, secret = service
    body, headers = hostile(random.Random(number))  # noqa: S311
    fuzzer = Fuzzer(client, secret, seed=number)
    fuzzer.send_body(number, "/score", body, headers)
    fuzzer.connection.close()
    assert fuzzer.report.broken == []


def score(client: httpx.Client, request: dict[str, Any]) -> httpx.Response:
    return client.post("/score", json=request)


def test_no_body_holds_everybody_up(service: Guarded) -> None:
    client, _ = service
    many = 10_000
    records = [RECORD] * many
    twice = score(client, {"records": records, "ids": [*range(many - 1), many - 2]})
    assert f"id {many - 2} was sent twice" in problem(twice, 422, "invalid-request")["detail"]
    colliding = [(2**61 - 1) * number for number in range(many)]  # of one hash, and slow to tell apart
    problem(score(client, {"records": records, "ids": colliding}), 422, "invalid-request")
    headers = {"Content-Type": "application/json"}
    many_lists = b'{"records": [{}], "ids": [' + b"[]," * 500_001 + b"0]}"
    nested = client.post("/score", content=many_lists, headers=headers)
    assert "lists and objects" in problem(nested, 413, "body-too-large")["detail"]
    strange = [{f"x{row}.{number}": 0 for number in range(20)} for row in range(100)]
    warnings = score(client, {"records": strange}).json()["warnings"]
    assert warnings[-1] == "at least 980 more unknown fields were ignored"
    labels = client.post("/feedback", content=b'{"labels": ' + b"[" * 210_000, headers=headers)
    problem(labels, 413, "body-too-large")

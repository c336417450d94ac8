"""`POST /aggregates`: the numbers of records, for callers who have no stream."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import nearnorm
from nearnorm.client.problems import InvalidRequestError
from nearnorm.service.app import create_app
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.ledger.quota import Quota
from nearnorm.service.ledger.tables import lines
from nearnorm.service.settings import Settings
from tests.service.asking import RECORD, problem
from tests.service.bundles import make_bundle
from tests.service.counted import COUNTED
from tests.service.running import home_with, serving

HUGE = "1e400"
"""No float64 has it."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Of a model whose `epoch` is a count."""
    bundle = make_bundle(tmp_path_factory.mktemp("bundle") / "b", config=COUNTED)
    home = home_with(tmp_path_factory.mktemp("home"), bundle)
    with serving(create_app(Settings(home=home))) as client:
        yield client


def record(id_: str, second: int, card: str, **more: Any) -> dict[str, Any]:
    return {"payment": id_, "at": f"2026-01-31T10:00:{second:02}Z", "card": card, "paid": 2.5} | more


def ask(client: httpx.Client, *records: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    answer = client.post("/aggregates", json={"records": records} | more)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


def test_records_get_their_numbers_and_are_counted_once(client: httpx.Client) -> None:
    sent = [record("a1", 0, "a"), record("a2", 10, "a"), record("b1", 11, "b")]
    expected = [{"epoch": 0, "amount": 0.0}, {"epoch": 1, "amount": 2.5}, {"epoch": 0, "amount": 0.0}]
    assert ask(client, *sent) == expected
    assert ask(client, *sent) == expected, "sent again"
    assert ask(client, record("a3", 20, "a")) == [{"epoch": 2, "amount": 5.0}]


def test_who_only_looks_counts_nothing(client: httpx.Client) -> None:
    assert ask(client, record("l1", 0, "l"), count=False) == [{"epoch": 0, "amount": 0.0}]
    assert ask(client, record("l2", 1, "l"), count=False) == [{"epoch": 0, "amount": 0.0}]


def test_what_it_answers_goes_into_a_record_to_be_scored(client: httpx.Client) -> None:
    numbers = ask(client, record("s1", 0, "s"))[0]
    answer = client.post("/score", json={"records": [RECORD | numbers]})
    assert "score" in answer.json()["results"][0]


def test_the_client_asks_for_them_and_may_only_look(client: httpx.Client) -> None:
    with nearnorm.Client(str(client.base_url)) as python:
        sent = [record("c1", 0, "c"), record("c2", 10, "c")]
        assert python.aggregates(sent, count=False) == [{"epoch": 0, "amount": 0.0}] * 2
        assert python.aggregates(sent) == [{"epoch": 0, "amount": 0.0}, {"epoch": 1, "amount": 2.5}]
        with pytest.raises(InvalidRequestError, match=r"records\.1\.at"):
            python.aggregates([*sent[:1], sent[1] | {"at": "noon"}])


def test_who_forgets_a_key_or_an_event_is_told_that_its_counts_went(client: httpx.Client) -> None:
    ask(client, record("f1", 0, "f"), record("f2", 10, "f"))
    for name, counted in (("f1", 1), ("f", 1), ("f", 0)):
        answer = client.post("/forget", json={"record_id": name})
        assert answer.json() == {"events": 0, "labels": 0, "counted": counted}
    assert ask(client, record("f3", 20, "f"), count=False) == [{"epoch": 0, "amount": 0.0}]


def test_a_model_tells_what_it_counts(client: httpx.Client) -> None:
    version = client.post("/aggregates", json={"records": [record("v", 0, "v")]}).json()["version"]
    core = client.get(f"/models/{version}").json()["core"]
    assert core["config"]["aggregates"] == COUNTED["aggregates"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"records": [record("x", 0, "x"), record("x", 0, "x") | {"at": "soon"}]}, "records.1.at"),
        ({"records": [{"card": "x"}]}, "records.0.at"),
        ({"records": [record("x", 0, "x", paid="much")]}, "records.0.paid"),
        ({"records": [record("x", 0, "x", paid=HUGE)]}, "records.0.paid"),
        ({"records": [record("x", 0, HUGE)]}, "records.0.card"),
    ],
)
def test_a_mistake_names_its_field_and_nothing_is_counted(
    client: httpx.Client, body: dict[str, Any], field: str
) -> None:
    text = json.dumps(body).replace(f'"{HUGE}"', HUGE)
    answer = client.post("/aggregates", content=text, headers={"content-type": "application/json"})
    refused = problem(answer, 422, "invalid-request")
    assert refused["field"] == field
    assert ask(client, record("y", 1, "x"), count=False)[0]["epoch"] == 0


def test_a_model_that_counts_nothing_says_so(tmp_path: Path) -> None:
    home = home_with(tmp_path / "home", make_bundle(tmp_path / "b"))
    with serving(create_app(Settings(home=home))) as client:
        refused = problem(client.post("/aggregates", json={"records": [{}]}), 422, "invalid-request")
    assert "declared no [aggregates]" in refused["detail"]


def test_a_line_is_held_to_its_quota_here_too(tmp_path: Path) -> None:
    home = home_with(tmp_path / "home", make_bundle(tmp_path / "b", config=COUNTED))
    ledger = Ledger.at(None, home)
    migrate(ledger)
    with ledger.write() as connection:
        lines.limit(connection, "default", Quota(rows_per_second=1, rows_per_request=100), 1, "test")
    ledger.close()
    with serving(create_app(Settings(home=home))) as client:
        larger = client.post("/aggregates", json={"records": [record("q", 0, "q")] * 101})
        assert "100 a request" in problem(larger, 413, "too-many-rows")["detail"]
        assert len(ask(client, *[record("q", 0, "q")] * 100)) == 100
        told = client.post("/aggregates", json={"records": [record("q", 0, "q")]})
        assert "'default' takes 1 rows a second" in problem(told, 429, "rate-limited")["detail"]
        score = client.post("/score", json={"records": [RECORD]})
        problem(score, 429, "rate-limited")

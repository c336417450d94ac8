"""GET /queue over HTTP, on both databases."""

from typing import Any

import httpx
import pytest

from nearnorm.service.feedback import queue
from tests.service.asking import RECORD, label, problem
from tests.service.waiting import logged, until


def fill(client: httpx.Client, count: int) -> None:
    """Rows of every percentile; all of them are kept."""
    records = [RECORD | {"amount": 60 + 90 * i / count} for i in range(count)]
    assert client.post("/score", json={"records": records}).status_code == 200
    until(lambda: logged(client))


def page(client: httpx.Client, **query: Any) -> dict[str, Any]:
    answer = client.get("/queue", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_the_queue_mixes_the_strangest_the_uncertain_and_the_random(client: httpx.Client) -> None:
    fill(client, 300)
    items = page(client, limit=2 * len(queue.MIX))["queue"]
    assert [item["why"] for item in items] == [*queue.MIX, *queue.MIX]
    tops = [item["percentile"] for item in items if item["why"] == "top"]
    assert tops == sorted(tops, reverse=True)
    assert tops[0] > 99.5
    uncertain = [item["percentile"] for item in items if item["why"] == "uncertain"]
    assert all(abs(percentile - 99) < 1 for percentile in uncertain)
    assert {item["probability"] for item in items} == {1.0}
    assert items[0]["record"]["country"] == "DE"
    assert all("id" not in item for item in items)


def test_what_is_missing_in_a_record_is_null(client: httpx.Client) -> None:
    record = {name: value for name, value in RECORD.items() if name != "country"}
    assert client.post("/score", json={"records": [record], "ids": ["tx"]}).status_code == 200
    until(lambda: logged(client))
    (item,) = page(client)["queue"]
    assert item["id"] == "tx"
    assert item["record"] == {**RECORD, "country": None}


def test_pages_give_every_event_once(client: httpx.Client) -> None:
    fill(client, 120)
    seen: list[str] = []
    cursor = None
    while True:
        answer = page(client, limit=7, **({"cursor": cursor} if cursor else {}))
        seen += [item["event_id"] for item in answer["queue"]]
        cursor = answer.get("next")
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 120
    assert "next" not in answer


def test_nobody_is_given_what_is_labelled_and_a_retraction_gives_it_back(client: httpx.Client) -> None:
    fill(client, 50)
    first = page(client, limit=1)["queue"][0]
    taken = label(client, {"event_id": first["event_id"], "label": "normal"})
    assert first["event_id"] not in {item["event_id"] for item in page(client, limit=200)["queue"]}
    label(client, {"retract": taken.json()["receipts"][0]["feedback_id"]})
    assert page(client, limit=1)["queue"][0]["event_id"] == first["event_id"]


def test_equal_records_are_given_once_a_page(client: httpx.Client) -> None:
    for _ in range(3):
        fill(client, 5)
    assert len(page(client, limit=200)["queue"]) == 5


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 201}, {"limit": "x"}, {"cursor": "x"}, {"cursor": "%%"}]
)
def test_a_query_that_does_not_fit_is_refused(client: httpx.Client, query: dict[str, Any]) -> None:
    problem(client.get("/queue", params=query), 422, "invalid-request")


def test_the_queue_of_an_unknown_model_is_not_found(client: httpx.Client) -> None:
    problem(client.get("/queue", params={"model": "other"}), 404, "unknown-model")


def test_the_queue_gives_reasons_where_they_are_asked_for(client: httpx.Client) -> None:
    strange = {"records": [RECORD | {"amount": 900.0}], "explain": True}
    scored = client.post("/score", json=strange).json()["results"][0]
    until(lambda: logged(client))
    (item,) = page(client, explain=True)["queue"]
    assert item["reasons"] == scored["reasons"]
    assert item["reasons"][0]["feature"] == "amount"
    assert "reasons" not in page(client)["queue"][0]

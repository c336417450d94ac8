"""GET /events and /events.csv: a filter that is a link, on both databases."""

import csv
import io
from typing import Any

import httpx
import pytest

from nearnorm.service.ledger.tables.events import search
from tests.service.asking import RECORD, STRANGE, label, problem, score, stored
from tests.service.feedback.test_queue import fill
from tests.service.waiting import logged, until


def events(client: httpx.Client, **query: Any) -> dict[str, Any]:
    answer = client.get("/events", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ids(client: httpx.Client, **query: Any) -> list[str]:
    return [event["event_id"] for event in events(client, **query)["events"]]


def keep(client: httpx.Client, record: dict[str, Any], id_: str | None = None) -> str:
    event_id: str = score(client, record, id_)["event_id"]
    until(lambda: logged(client))
    return event_id


def test_every_filter_leaves_what_fits_it_newest_first(client: httpx.Client) -> None:
    usual = keep(client, RECORD, "tx-1")
    strange = keep(client, STRANGE | {"country": "FR"}, "tx-2")
    absent = keep(client, {**RECORD, "country": None})
    assert ids(client) == [absent, strange, usual]
    assert ids(client, id="tx-1") == [usual]
    assert ids(client, anomaly=True) == [strange]
    assert ids(client, anomaly=True, id="tx-1") == []
    assert ids(client, min_percentile=99) == [strange]
    assert ids(client, max_percentile=99) == [absent, usual]
    assert ids(client, feature="amount", at_least=900) == [strange]
    assert ids(client, feature="amount", at_most=899.5, at_least=61.5) == [absent, usual]
    assert ids(client, feature="amount", equals="900") == [strange]
    assert ids(client, feature="country", equals="FR") == [strange]
    assert ids(client, feature="country", equals="") == [absent]
    assert ids(client, feature="new device", equals="false") == [absent, strange, usual]
    assert ids(client, feature="country", at_least=0) == []
    assert ids(client, audit=False) == []
    group = events(client, id="tx-2")["events"][0]["prototype"]
    assert strange in ids(client, prototype=group)
    assert ids(client, prototype=2**31 - 1) == []
    at = events(client, id="tx-2")["events"][0]["at"]
    assert ids(client, since=at)[-1] == strange
    assert ids(client, until=at) == [usual]


def test_status_tells_that_a_record_was_judged_and_not_how(client: httpx.Client) -> None:
    first, second = keep(client, STRANGE), keep(client, RECORD)
    (said,) = stored(label(client, {"event_id": first, "label": "anomaly"}))
    assert (ids(client, status="judged"), ids(client, status="open")) == ([first], [second])
    assert "verdict" not in events(client, status="judged")["events"][0]
    stored(label(client, {"retract": said}))
    assert (ids(client, status="judged"), ids(client, status="open")) == ([], [second, first])


def test_pages_give_every_event_that_fits_once(client: httpx.Client) -> None:
    fill(client, 60)
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 7, "feature": "amount", "at_least": 100}
    page = events(client, **query)
    while True:
        seen += [event["event_id"] for event in page["events"]]
        if "next" not in page:
            break
        page = events(client, **query, cursor=page["next"])
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == len(seen) == sum(60 + 90 * i / 60 >= 100 for i in range(60))


def test_a_search_ends_at_its_bound_says_where_and_goes_on(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = keep(client, STRANGE, "old")
    fill(client, 20)
    monkeypatch.setattr(search, "MOST_SEARCHED", 15)
    page = events(client, feature="amount", equals="900")
    assert page["events"] == []
    assert page["searched_to"]
    rest = events(client, feature="amount", equals="900", cursor=page["next"])
    assert [event["event_id"] for event in rest["events"]] == [old]
    assert ids(client, id="old") == [old]  # by its index, however much came since


def test_a_page_ends_at_its_bytes_and_goes_on(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(client, 6)
    monkeypatch.setattr(search, "MOST_FOUND", 1)
    page = events(client)
    assert len(page["events"]) == 1
    assert len(events(client, cursor=page["next"])["events"]) == 1


@pytest.mark.parametrize("path", ["/events", "/events.csv"])
def test_what_does_not_fit_is_refused_by_its_name(client: httpx.Client, path: str) -> None:
    refused: list[tuple[dict[str, str | float], str]] = [
        ({"feature": "amount"}, "feature"),
        ({"at_least": 3}, "feature"),
        ({"feature": "a", "at_least": "nan"}, "at_least"),
        ({"min_percentile": 101}, "min_percentile"),
        ({"since": "yesterday"}, "since"),
        ({"cursor": "x"}, "cursor"),
        ({"id": "a\0"}, "id"),
        ({"colour": "red"}, "colour"),
    ]
    for query, field in refused:
        found = problem(client.get(path, params=query), 422, "invalid-request")
        assert found["field"].endswith(field)


def test_an_unknown_model_is_told(client: httpx.Client) -> None:
    problem(client.get("/events", params={"model": "nobody"}), 404, "unknown-model")


def test_the_table_has_what_is_listed_and_no_formula(client: httpx.Client) -> None:
    keep(client, STRANGE | {"country": "=1+1"}, "@SUM(A1)")
    keep(client, RECORD | {"amount": -3.5, "channel": "-2"}, "tx-2")
    answer = client.get("/events.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    newest, oldest = csv.DictReader(io.StringIO(answer.text))
    assert (oldest["record.country"], oldest["id"]) == ("'=1+1", "'@SUM(A1)")
    assert (newest["record.amount"], newest["record.channel"]) == ("-3.5", "'-2")
    assert [newest["event_id"], oldest["event_id"]] == ids(client)
    assert "Link" not in answer.headers


def test_the_table_names_where_the_rest_is(client: httpx.Client) -> None:
    fill(client, 5)
    query: dict[str, str | float] = {"limit": 2, "feature": "amount", "at_least": 60, "min_percentile": 0}
    answer = client.get("/events.csv", params=query)
    seen: list[str] = []
    while True:
        seen += [row["event_id"] for row in csv.DictReader(io.StringIO(answer.text))]
        if "next" not in answer.links:
            break
        answer = client.get(answer.links["next"]["url"])
    assert seen == ids(client, feature="amount", at_least=60)

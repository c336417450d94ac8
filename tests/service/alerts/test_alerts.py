"""GET /alerts: pages and streams of what raised an alert, plain and as findings.

The log is the module's: a test asks for what was scored since it began. What is found of it is tested with
GET /events, on both databases.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.api.review import alerts as route
from nearnorm.service.api.review import kept_query
from nearnorm.service.app import create_app
from nearnorm.service.errors import LedgerUnavailable
from nearnorm.service.ids import iso, now_ms
from nearnorm.service.ledger.tables.events import search
from nearnorm.service.ledger.tables.events.search import FoundEvents
from nearnorm.service.settings import Settings
from tests.service.alerts.ocsf_schema import mistakes
from tests.service.asking import RECORD, STRANGE, problem, score
from tests.service.running import home_with, serving
from tests.service.waiting import logged, until

NDJSON = "application/x-ndjson"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Iterator[httpx.Client]:
    """Every row is kept, whether it raises an alert or not."""
    home = home_with(tmp_path_factory.mktemp("home"), bundle)
    with serving(create_app(Settings(home=home, audit_rate=1.0))) as client:
        yield client


@pytest.fixture
def since(client: httpx.Client) -> str:
    """When the test began."""
    until(lambda: logged(client))
    return iso(now_ms())


def raise_alerts(client: httpx.Client, count: int) -> list[str]:
    """The event ids of so many alerts, newest first, with as many usual rows between them."""
    records = [
        STRANGE | {"epoch": 1_700_000_000 + i, "amount": 900 if i % 2 else 61} for i in range(2 * count)
    ]
    sent = {"records": records, "ids": [f"tx-{i}" for i in range(2 * count)]}
    results = client.post("/score", json=sent).json()["results"]
    until(lambda: logged(client))
    return [one["event_id"] for one in reversed(results) if one["anomaly"]]


def page(client: httpx.Client, **query: Any) -> dict[str, Any]:
    answer = client.get("/alerts", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found


def lines(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == NDJSON
    return [msgspec.json.decode(line) for line in answer.content.splitlines()]


def test_an_alert_is_told_without_its_record_and_with_it_where_that_was_asked_for(
    client: httpx.Client, since: str
) -> None:
    score(client, RECORD, "usual")
    found = score(client, STRANGE | {"country": None}, "odd")
    until(lambda: logged(client))
    (alert,) = page(client, since=since)["alerts"]
    assert alert.pop("at").endswith("Z")
    assert alert == {
        "event_id": found["event_id"],
        "id": "odd",
        "model": "default",
        "model_version": client.get("/readyz").json()["models"][0]["version"],
        "score": pytest.approx(found["score"], abs=1e-3),
        "percentile": pytest.approx(found["percentile"], abs=0.01),
    }
    (whole,) = page(client, since=since, include_records=True, explain=True)["alerts"]
    assert (whole["record"]["amount"], whole["record"]["country"]) == (900.0, None)
    assert whole["reasons"][0] == "amount"


def test_pages_and_the_stream_tell_the_same_alerts_newest_first(
    client: httpx.Client, since: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = raise_alerts(client, 23)
    assert len(ids) == 23
    monkeypatch.setattr(route, "STREAMED_AT_ONCE", 5)
    paged: list[dict[str, Any]] = []
    asked: dict[str, Any] = {"since": since, "include_records": True}
    found = page(client, limit=7, **asked)
    while True:
        paged += found["alerts"]
        if "next" not in found:
            break
        found = page(client, limit=7, **asked, cursor=found["next"])
    assert [alert["event_id"] for alert in paged] == ids
    asked["format"] = "ndjson"
    assert lines(client.get("/alerts", params=asked)) == paged
    assert lines(client.get("/alerts", params={**asked, "limit": 12})) == paged[:12]
    rest = client.get("/alerts", params={**asked, "cursor": ids[11], "id": "tx-3"})
    assert [alert["id"] for alert in lines(rest)] == ["tx-3"]


def test_a_stream_goes_on_where_a_search_ends_at_its_bounds(
    client: httpx.Client, since: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = raise_alerts(client, 20)
    monkeypatch.setattr(search, "MOST_SEARCHED", 3)
    found = page(client, since=since, feature="amount", equals="61")
    assert (found["alerts"], set(found)) == ([], {"alerts", "next", "searched_to"})
    assert len(lines(client.get("/alerts", params={"format": "ndjson", "since": since}))) == len(ids)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (NDJSON, NDJSON),
        ("application/ndjson; charset=utf-8", NDJSON),
        ("text/plain, application/x-ndjson;q=0.9", NDJSON),
        ("application/json, application/x-ndjson", "application/json"),
        ("*/*", "application/json"),
        ("\xff", "application/json"),
    ],
)
def test_accept_says_whether_lines_are_wanted(client: httpx.Client, accept: str, kind: str) -> None:
    headers = {b"Accept": accept.encode("latin-1")}
    answer = client.get("/alerts", headers=headers)
    assert (answer.status_code, answer.headers["content-type"], answer.headers["vary"]) == (
        200,
        kind,
        "Accept",
    )
    said = client.get("/alerts", headers=headers, params={"format": "json"})
    assert said.headers["content-type"] == "application/json"


def test_findings_are_valid_with_the_models_reasons_in_their_analyses(
    client: httpx.Client, since: str
) -> None:
    raise_alerts(client, 3)
    query: dict[str, Any] = {"since": since, "shape": "ocsf", "explain": True}
    found = page(client, **query)["alerts"]
    assert [mistakes(one) for one in found] == [[], [], []]
    assert lines(client.get("/alerts", params={**query, "format": "ndjson"})) == found
    analysis = found[0]["anomaly_analyses"][0]
    assert {"percentile", "amount"} <= {one["observation_parameter"] for one in analysis["anomalies"]}
    assert "baselines" not in analysis
    whole = page(client, **query, include_records=True)["alerts"][0]
    assert mistakes(whole) == []
    assert whole["evidences"][0]["data"]["amount"] == 900.0
    assert whole["anomaly_analyses"][0]["baselines"]


def test_what_does_not_fit_is_refused_by_its_name(client: httpx.Client) -> None:
    refused = [
        ({"anomaly": "true"}, "anomaly"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": "0" * 26 + "\n"}, "cursor"),
        ({"cursor": "é" * 26}, "cursor"),
        ({"shape": "cef"}, "shape"),
        ({"format": "csv"}, "format"),
        ({"limit": "0"}, "limit"),
        ({"at_least": "3"}, "feature"),
        ({"since": "yesterday"}, "since"),
    ]
    for query, field in refused:
        for more in ({}, {"format": "ndjson"}):
            found = problem(client.get("/alerts", params={**more, **query}), 422, "invalid-request")
            assert found["field"].endswith(field)
    problem(client.get("/alerts", params={"model": "nobody", "format": "ndjson"}), 404, "unknown-model")


def test_a_cursor_of_no_event_tells_what_is_older(client: httpx.Client, since: str) -> None:
    ids = raise_alerts(client, 2)
    assert [one["event_id"] for one in page(client, since=since, cursor="Z" * 26)["alerts"]] == ids
    assert page(client, cursor="0" * 26) == {"alerts": []}
    assert client.get("/alerts", params={"cursor": "0" * 26, "format": "ndjson"}).content == b""


def test_a_stream_that_fails_on_its_way_is_cut_off_and_not_ended(
    client: httpx.Client, since: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raise_alerts(client, 4)
    monkeypatch.setattr(route, "STREAMED_AT_ONCE", 2)
    asked = 0

    async def away(*arguments: Any) -> FoundEvents:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise LedgerUnavailable("the ledger is away")
        return await kept_query.found_events(*arguments)

    monkeypatch.setattr(route, "found_events", away)
    got: list[bytes] = []
    cut_off = pytest.raises(httpx.RemoteProtocolError)
    with client.stream("GET", "/alerts", params={"since": since, "format": "ndjson"}) as answer, cut_off:
        got.extend(answer.iter_raw())
    assert b"".join(got).count(b"\n") == 2
    problem(client.get("/alerts", params={"format": "ndjson"}), 503, "ledger-unavailable")

"""GET /feedback over HTTP, on both databases: what became of what was said."""

from typing import Any

import httpx
import pytest

from nearnorm.service.access import keyring
from nearnorm.service.ledger.database import Ledger
from tests.service.asking import RECORD, STRANGE, label, problem, score, stored
from tests.service.waiting import logged, until


def receipts(client: httpx.Client, **params: str | int) -> list[dict[str, Any]]:
    answer = client.get("/feedback", params=params)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["receipts"]
    return found


def test_receipts_are_listed_newest_first_as_each_alone(client: httpx.Client) -> None:
    event = score(client, STRANGE, "tx-1")["event_id"]
    ids = [
        stored(label(client, {"event_id": event, "label": "anomaly", "analyst": "ann"}))[0],
        stored(label(client, {"record": RECORD, "label": "normal", "analyst": "ben"}))[0],
    ]
    ids.append(stored(label(client, {"retract": ids[0], "analyst": "ann"}))[0])
    until(lambda: logged(client))
    found = receipts(client)
    assert [receipt["feedback_id"] for receipt in found] == ids[::-1]
    assert [receipt["status"] for receipt in found] == ["waiting", "waiting", "retracted"]
    assert found == [client.get(f"/feedback/{one}").json() for one in ids[::-1]]
    assert found[2]["event"]["event_id"] == event
    assert found[0]["at"] >= found[2]["at"] > "2026"
    assert [r["feedback_id"] for r in receipts(client, analyst="ben")] == [ids[1]]


def test_receipts_are_paged(client: httpx.Client) -> None:
    ids = stored(label(client, *({"record": RECORD | {"amount": i}, "label": "normal"} for i in range(5))))
    first = client.get("/feedback", params={"limit": 3}).json()
    second = client.get("/feedback", params={"limit": 3, "cursor": first["next"]}).json()
    found = [receipt["feedback_id"] for page in (first, second) for receipt in page["receipts"]]
    assert found == ids[::-1]
    assert "next" not in second
    assert receipts(client, model="default", cursor=1) == []


@pytest.fixture
def keys(client: httpx.Client, ledger: Ledger) -> dict[str, str]:
    roles = {"desk": ["feedback"], "tool": ["feedback"], "ops": ["feedback", "operate"], "gate": ["score"]}
    with ledger.write() as connection:
        secrets = {name: keyring.create(connection, name, given, "test")[0] for name, given in roles.items()}
    until(lambda: client.get("/feedback").status_code == 401)
    return secrets


def test_a_key_sees_what_it_brought_and_an_operator_what_anybody_said(
    client: httpx.Client, keys: dict[str, str]
) -> None:
    def by(name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {keys[name]}"}

    for name in ("desk", "tool"):
        for analyst in ("ann", name):
            item = {"record": RECORD | {"amount": len(analyst)}, "label": "normal", "analyst": analyst}
            client.post("/feedback", json={"labels": [item]}, headers=by(name)).raise_for_status()

    def seen(name: str, **params: str) -> list[str]:
        answer = client.get("/feedback", headers=by(name), params=params)
        assert answer.status_code == 200, answer.text
        return sorted(receipt["analyst"] for receipt in answer.json()["receipts"])

    assert seen("desk") == ["ann", "desk"]
    assert seen("desk", analyst="ann") == ["ann"]
    assert seen("desk", analyst="tool") == []
    assert seen("ops") == []
    assert seen("ops", analyst="ann") == ["ann", "ann"]
    problem(client.get("/feedback", headers=by("gate")), 403, "forbidden")


def test_a_page_that_does_not_fit_is_refused(client: httpx.Client) -> None:
    for params in ({"limit": 0}, {"limit": 201}, {"cursor": "x"}, {"analyst": "\t"}, {"colour": "red"}):
        problem(client.get("/feedback", params=params), 422, "invalid-request")
    problem(client.get("/feedback", params={"model": "other"}), 404, "unknown-model")

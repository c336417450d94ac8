"""GET and PUT /policy over HTTP, on both databases."""

from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from nearnorm.service.app import create_app
from nearnorm.service.ledger.tables.policy import PolicyVersion
from nearnorm.service.settings import Settings
from nearnorm.service.verdict.budget import Traffic
from nearnorm.service.verdict.policies import InForce, Policies
from tests.service.ledger.asking import RECORD, STRANGE, label, problem, score, stored
from tests.service.running import serving
from tests.service.waiting import logged, until

USUAL = RECORD | {"amount": 100.0}  # rarer than 4 of 5, far from the default budget


def put(client: httpx.Client, **change: Any) -> dict[str, Any]:
    answer = client.put("/policy", json=change)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_budget_is_in_force_at_once_and_told_with_what_was_before(client: httpx.Client) -> None:
    assert score(client, USUAL)["anomaly"] is False
    answer = put(client, budget="90%")
    assert answer["previous"]["version"] == 0
    assert answer["previous"]["share"] == pytest.approx(0.01)
    assert answer["policy"]["version"] == 1
    assert answer["policy"]["share"] == pytest.approx(0.9)
    assert answer["policy"]["expected_alert_rate"] == pytest.approx(0.9, abs=0.05)
    assert score(client, USUAL)["anomaly"] is True
    assert client.get("/policy").json()["policy"]["budget"] == "90%"


def test_a_policy_that_was_read_before_a_newer_one_was_put_does_not_come_back() -> None:
    policies = Policies()
    older, newer = (
        InForce(PolicyVersion(version, "1%", False, 30.0, False, None, 0, ""), share, Traffic({}, 1.0), 0.0)
        for version, share in ((1, 0.01), (2, 0.02))
    )
    policies.adopt("default", newer)
    policies.adopt("default", older)
    assert policies.of("default") is newer
    solved_again = replace(newer, share=0.03)
    policies.adopt("default", solved_again)
    assert policies.of("default") is solved_again


def test_an_undo_goes_back_step_by_step(client: httpx.Client) -> None:
    put(client, budget="2%")
    put(client, budget="3%")
    assert client.post("/policy/undo").json()["policy"]["budget"] == "2%"
    last = client.post("/policy/undo", json={"model": "default"}).json()["policy"]
    assert (last["version"], last["budget"]) == (4, "1%")
    problem(client.post("/policy/undo"), 409, "conflict")


def test_a_number_a_day_is_solved_from_the_traffic_seen(client: httpx.Client) -> None:
    problem(client.put("/policy", json={"budget": "40 a day"}), 422, "invalid-request")
    records = [RECORD | {"amount": 20.0 + i / 50} for i in range(4000)]
    assert client.post("/score", json={"records": records}).status_code == 200
    until(lambda: logged(client))
    policy = put(client, budget="500 a day")["policy"]
    assert policy["traffic_per_day"] > 0
    assert policy["expected_alerts_per_day"] == pytest.approx(500, rel=0.01)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"budget": "-1%"},
        {"budget": "101%"},
        {"budget": "0.0001%"},
        {"budget": 0.01},
        {"budget": "much"},
        {"suppress_days": 0},
        {"suppress_days": 1e9},
        {"suppress_confirmed_normals": "yes"},
        {"colour": "red"},
    ],
)
def test_a_change_that_does_not_fit_changes_nothing(client: httpx.Client, change: dict[str, Any]) -> None:
    problem(client.put("/policy", json=change), 422, "invalid-request")
    assert client.get("/policy").json()["policy"]["version"] == 0


def test_a_budget_finer_than_the_reference_is_refused_with_the_rows_it_needs(client: httpx.Client) -> None:
    detail = problem(client.put("/policy", json={"budget": "0.0001%"}), 422, "invalid-request")["detail"]
    assert "999999 reference rows" in detail


def test_a_policy_of_an_unknown_model_is_not_found(client: httpx.Client) -> None:
    problem(client.get("/policy", params={"model": "other"}), 404, "unknown-model")
    problem(client.put("/policy", json={"model": "other", "budget": "1%"}), 404, "unknown-model")


def test_a_confirmed_normal_suppresses_only_where_that_is_switched_on_and_not_for_ever(
    client: httpx.Client,
) -> None:
    stored(label(client, {"record": STRANGE, "label": "normal"}))
    assert score(client, STRANGE)["anomaly"] is True
    put(client, suppress_confirmed_normals=True)
    result = score(client, STRANGE)
    assert result["anomaly"] is False
    assert result["matched_feedback"]["suppressed"] is True
    assert result["matched_feedback"]["suppresses_until"] > "2026"
    put(client, suppress_days=1e-9)
    assert score(client, STRANGE)["anomaly"] is True


def test_policies_and_verdicts_survive_a_restart(settings: Settings) -> None:
    with serving(create_app(settings)) as client:
        put(client, budget="90%")
        label(client, {"record": STRANGE, "label": "anomaly"})
    with serving(create_app(settings)) as client:
        assert score(client, USUAL)["anomaly"] is True
        assert score(client, STRANGE)["matched_feedback"]["label"] == "anomaly"


def test_a_replica_follows_labels_and_policies_within_5_seconds(settings: Settings) -> None:
    with serving(create_app(settings)) as one, serving(create_app(settings)) as other:
        label(one, {"record": STRANGE, "label": "anomaly"})
        put(one, budget="90%")
        until(lambda: "matched_feedback" in score(other, STRANGE) and score(other, USUAL)["anomaly"], 5)

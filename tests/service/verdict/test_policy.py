"""GET and PUT /policy over HTTP, on both databases."""

from typing import Any

import httpx
import numpy as np
import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.app import create_app
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.events import traffic
from nearnorm.service.ledger.tables.events.traffic import Counted
from nearnorm.service.ledger.tables.policy import PolicyVersion
from nearnorm.service.settings import Settings
from nearnorm.service.verdict import policies
from nearnorm.service.verdict.policies import InForce, Policies
from nearnorm.service.verdict.solve import Ground, by_default
from nearnorm.service.verdict.traffic import score_bins
from tests.service.asking import RECORD, STRANGE, label, problem, score, stored
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
    assert answer["policy"]["promised"] == {
        "share_of_normal": pytest.approx(0.9),
        "assumes": "a clean reference",
    }
    assert score(client, USUAL)["anomaly"] is True
    assert client.get("/policy").json()["policy"]["budget"] == "90%"


def test_a_policy_that_was_read_before_a_newer_one_was_put_does_not_come_back(ledger: Ledger) -> None:
    held = Policies()
    ground = Ground("default", "v", "line", np.linspace(0, 1, 400, dtype=np.float32))
    with ledger.read() as connection:
        solved = by_default(connection, ground)
    older, newer = (
        InForce(
            PolicyVersion(version, "1%", False, 30.0, False, None, 0, "", "line"),
            "v",
            "line",
            0.9,
            400,
            solved,
            0.0,
        )
        for version in (1, 2)
    )
    held.adopt("default", newer)
    held.adopt("default", older)
    assert held.of("default") is newer
    solved_again = replace(newer, at=1.0)
    held.adopt("default", solved_again)
    assert held.of("default") is solved_again


def test_a_budget_that_a_version_cannot_keep_is_told_and_the_default_stands(ledger: Ledger) -> None:
    large, small = (
        Ground("default", version, "line", np.linspace(0, 1, rows, dtype=np.float32))
        for version, rows in (("large", 2_000), ("small", 400))
    )
    with ledger.write() as connection:
        policies.put(connection, policies.Change(budget="0.1%"), large, "ops")
        told = policies.current(connection, small, None).as_dict()
    assert told["budget"] == "0.1%"
    assert told["promised"]["share_of_normal"] == 0.01
    assert "needs 999 reference rows" in told["problem"]


def test_an_undo_goes_back_step_by_step(client: httpx.Client) -> None:
    put(client, budget="2%")
    put(client, budget="3%")
    assert client.post("/policy/undo").json()["policy"]["budget"] == "2%"
    last = client.post("/policy/undo", json={"model": "default"}).json()["policy"]
    assert (last["version"], last["budget"]) == (4, "1%")
    problem(client.post("/policy/undo"), 409, "conflict")


def rows_counted(ledger: Ledger) -> int:
    """What the policy is solved from: a large request is counted piece by piece, and written now and then."""
    with ledger.read() as connection:
        return int(connection.execute(sa.select(sa.func.sum(traffic.traffic_hours.c.rows))).scalar() or 0)


def test_a_number_a_day_is_solved_from_the_traffic_seen_and_not_forecast_from_minutes(
    client: httpx.Client, ledger: Ledger
) -> None:
    problem(client.put("/policy", json={"budget": "40 a day"}), 422, "invalid-request")
    records = [RECORD | {"amount": 20.0 + i / 50} for i in range(4000)]
    assert client.post("/score", json={"records": records}).status_code == 200
    until(lambda: rows_counted(ledger) == len(records))
    policy = put(client, budget="500 a day")["policy"]
    assert policy["promised"] == {"alerts_a_day": 500.0, "as": "the mean of a week"}
    assert policy["forecast"] is None
    assert policy["expected_alert_rate"] is None
    assert policy["missing"] == "an hour of traffic: until then nothing is forecast"
    again = client.post("/score", json={"records": records}).json()["results"]
    alerts = sum(result["anomaly"] for result in again)
    assert 0 < alerts < 1.1 * 500 / 24  # what was seen counts as an hour
    until(lambda: client.get("/policy").json()["policy"]["raised"]["hour"] >= alerts)


def test_of_a_share_of_traffic_no_alert_rate_is_expected_before_an_hour_is_known(
    client: httpx.Client,
) -> None:
    records = [RECORD | {"amount": 20.0 + i / 50} for i in range(4000)]
    assert client.post("/score", json={"records": records}).status_code == 200
    until(lambda: logged(client))
    policy = put(client, budget="1% of traffic")["policy"]
    assert policy["expected_alert_rate"] is None
    assert policy["traffic_per_day"] is None
    assert "an hour of traffic" in policy["missing"]


def test_of_a_share_of_normal_the_rate_before_an_hour_is_told_to_be_of_normal(client: httpx.Client) -> None:
    policy = put(client, budget="2% of normal")["policy"]
    assert policy["expected_alert_rate"] == 0.02
    assert "of normal traffic alone" in policy["missing"]


IMPOSSIBLE = ["0.0000001 a day", "1000000000 a day", "0.5 each day", "precision 100%"]


@pytest.mark.parametrize("budget", IMPOSSIBLE)
def test_a_budget_that_nothing_can_keep_is_refused_by_its_field(client: httpx.Client, budget: str) -> None:
    assert (
        problem(client.put("/policy", json={"budget": budget}), 422, "invalid-request")["field"] == "budget"
    )


def test_more_alerts_than_the_traffic_has_rows_are_taken_with_a_warning(
    client: httpx.Client, ledger: Ledger, payments: Bundle
) -> None:
    hours_of(ledger, payments.version, 9, 1000)
    (warning,) = put(client, budget="30000 a day")["policy"]["warnings"]
    assert "more than the 24,000 rows a day" in warning
    assert "warnings" not in put(client, budget="240 a day")["policy"]
    (warning,) = put(client, budget="0.0001% of traffic")["policy"]["warnings"]
    assert "fewer than the traffic seen tells apart" in warning


def hours_of(ledger: Ledger, version: str, days: int, rows: int) -> None:
    """So many days of traffic whose scores lie as evenly as can be."""
    now = now_ms() // 3_600_000
    bins = score_bins.count(np.linspace(0, 1, rows, dtype=np.float32))
    sketch = {int(place): float(bins[place]) for place in np.flatnonzero(bins)}
    hours = [
        Counted("default", now - back, version, "app", rows, 5, 1, 2, 0, sketch)
        for back in range(1, 24 * days + 1)
    ]
    with ledger.write() as connection:
        traffic.put(connection, "w", hours)


def test_promised_forecast_and_raised_stand_side_by_side(
    client: httpx.Client, ledger: Ledger, payments: Bundle
) -> None:
    hours_of(ledger, payments.version, 9, 1000)
    policy = put(client, budget="240 a day")["policy"]
    low, mean, high = (policy["forecast"][name] for name in ("low", "mean", "high"))
    assert low < mean < high
    assert mean == pytest.approx(240, rel=0.05)
    assert policy["traffic_per_day"] == 24_000
    assert policy["expected_alerts_per_day"] == pytest.approx(mean, abs=0.01)
    raised = policy["raised"]
    assert (raised["hour"], raised["day"], raised["week"]) == (8, 192, 1344)
    assert (raised["by_score"], raised["by_novelty"], raised["by_label"]) == (840, 168, 336)
    assert policy["budget_exceeded"] is False
    of_traffic = put(client, budget="1% of traffic")["policy"]
    assert of_traffic["promised"] == {"share_of_traffic": 0.01}
    assert of_traffic["expected_alert_rate"] == pytest.approx(0.01, rel=0.05)


def test_a_precision_is_refused_until_verdicts_bear_it_out(client: httpx.Client) -> None:
    detail = problem(client.put("/policy", json={"budget": "precision 50%"}), 422, "invalid-request")[
        "detail"
    ]
    assert "needs 2 more verdicts" in detail
    records = [STRANGE | {"amount": 900.0 + i} for i in range(20)]
    events = [r["event_id"] for r in client.post("/score", json={"records": records}).json()["results"]]
    until(lambda: logged(client))
    stored(label(client, *({"event_id": event, "label": "anomaly"} for event in events)))
    policy = put(client, budget="precision 50%")["policy"]
    assert policy["promised"] == {"precision": 0.5, "confidence": 0.9}
    assert score(client, STRANGE)["anomaly"] is True
    assert score(client, RECORD)["anomaly"] is False


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

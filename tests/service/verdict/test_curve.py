"""GET /policy/curve over HTTP, on both databases."""

from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.app import create_app
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.settings import Settings
from tests.service.asking import RECORD, STRANGE, label, problem, stored
from tests.service.running import serving
from tests.service.verdict.test_policy import hours_of, put
from tests.service.waiting import logged, until


def curve(client: httpx.Client, **params: str) -> dict[str, Any]:
    answer = client.get("/policy/curve", params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_without_traffic_it_is_of_normal_and_says_what_is_missing(client: httpx.Client) -> None:
    found = curve(client)
    assert found["by"] == "normal"
    assert found["in_force"]["budget"] == "1%"
    assert "1% of normal" in [point["budget"] for point in found["points"]]
    assert {point["alerts"] for point in found["points"]} == {None}
    assert [sentence.partition(":")[0] for sentence in found["missing"]] == ["alerts", "precision", "recall"]
    assert curve(client, by="day")["points"] == []


@pytest.mark.parametrize("by", ["day", "traffic", "normal"])
def test_every_position_is_a_budget_that_comes_to_what_the_curve_says(
    client: httpx.Client, ledger: Ledger, payments: Bundle, by: str
) -> None:
    hours_of(ledger, payments.version, 9, 1000)
    found = curve(client, by=by)
    points = found["points"]
    assert 30 <= len(points) <= 100
    assert found["traffic_per_day"] == 24_000
    means = [point["alerts"]["mean"] for point in points]
    assert means == sorted(means)
    if by != "normal":
        assert 5 <= means[0] <= 100
        assert means[-1] == pytest.approx(2_400, rel=0.2)
    for point in points[:: len(points) // 3]:
        policy = put(client, budget=point["budget"])["policy"]
        assert policy["threshold"] == pytest.approx(point["threshold"])
        assert policy["forecast"] == pytest.approx(point["alerts"])
        assert policy["share"] == pytest.approx(point["share"], abs=1 / 401)


def test_the_budget_in_force_is_a_position_too(
    client: httpx.Client, ledger: Ledger, payments: Bundle
) -> None:
    hours_of(ledger, payments.version, 9, 1000)
    put(client, budget="371 alerts per day")
    found = curve(client)
    assert found["by"] == "day"
    budgets = [point["budget"] for point in found["points"]]
    at = budgets.index("371 alerts per day")
    assert (budgets[at - 1], budgets[at + 1]) == ("350 a day", "400 a day")
    assert found["in_force"] == found["points"][at]
    assert found["at"] == at


def test_a_budget_of_another_kind_is_nearest_to_one_of_its_threshold(
    client: httpx.Client, ledger: Ledger, payments: Bundle
) -> None:
    hours_of(ledger, payments.version, 9, 1000)
    put(client, budget="240 each day")
    found = curve(client)
    assert found["points"][found["at"]]["budget"] in ("220 a day", "250 a day")
    with ledger.write() as connection:  # as a release did that refused less
        connection.execute(sa.text("UPDATE policies SET budget = '0.00001 a day'"))
    assert curve(client)["at"] is not None


def test_verdicts_on_alerts_give_a_precision_at_once(
    client: httpx.Client, ledger: Ledger, payments: Bundle
) -> None:
    hours_of(ledger, payments.version, 9, 1000)
    records = [STRANGE | {"amount": 150.0 + 10 * i} for i in range(90)]
    events = [r["event_id"] for r in client.post("/score", json={"records": records}).json()["results"]]
    until(lambda: logged(client))
    put(client, budget="5000 a day")  # strange ones alert by score, not as novel alone
    before = curve(client)
    assert before["in_force"]["precision"] is None
    assert before["verdicts"] == 0
    stored(
        label(
            client,
            *(
                {"event_id": event, "label": "normal" if i % 3 else "anomaly"}
                for i, event in enumerate(events)
            ),
        )
    )
    after = curve(client)
    assert after["verdicts"] == 90
    precision = after["in_force"]["precision"]
    assert precision["low"] < 1 / 3 < precision["high"]
    assert not any(sentence.startswith("precision") for sentence in after["missing"])


def test_a_kind_or_model_that_is_none_is_refused(client: httpx.Client) -> None:
    problem(client.get("/policy/curve", params={"by": "week"}), 422, "invalid-request")
    problem(client.get("/policy/curve", params={"model": "other"}), 404, "unknown-model")


def test_a_curve_of_a_model_that_scores_is_not_behind_a_replica(settings: Settings) -> None:
    with serving(create_app(settings)) as one, serving(create_app(settings)) as other:
        one.post("/score", json={"records": [RECORD]})
        put(one, budget="7% of normal")
        until(lambda: curve(other)["in_force"]["budget"] == "7% of normal", 5)

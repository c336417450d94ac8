"""GET /overview/figures over HTTP, on both databases."""

from typing import Any

import httpx
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.feedback.figures import overview
from nearnorm.service.ids import iso, new_id, now_ms
from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.label_history import Label
from nearnorm.service.ledger.tables.events import traffic
from nearnorm.service.ledger.tables.events.traffic import RESCORED, Counted
from nearnorm.service.ledger.tables.feedback import labels, quarantine
from nearnorm.service.ledger.tables.feedback.quarantine import Quarantine
from tests.service.asking import RECORD, label, problem, score, stored
from tests.service.waiting import until

HOUR = 3_600_000
MINUTE = 60_000
NOON = (now_ms() // (24 * HOUR) - 10) * 24 * HOUR + 12 * HOUR
"""Ten days ago."""


def asked(client: httpx.Client, **params: str) -> dict[str, Any]:
    answer = client.get("/overview/figures", params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def say(
    ledger: Ledger, at: int, digest: str, what: str, analyst: str = "ann", retracts: str | None = None
) -> str:
    said = Label(new_id(), at, "default", digest, what, {}, analyst, "key", retracts=retracts)
    with ledger.write() as connection:
        labels.append(connection, tick(connection, "labels"), [said])
    return said.feedback_id


def day(found: dict[str, Any], at: int) -> dict[str, Any]:
    midnight = iso(at // (24 * HOUR) * 24 * HOUR)
    shown: dict[str, Any] = next(one for one in found["days"] if one["start"] == midnight)
    return shown


def test_without_traffic_and_labels_it_says_what_is_missing(client: httpx.Client) -> None:
    found = asked(client)
    assert (len(found["hours"]), len(found["days"])) == (48, 56)
    assert (found["total"]["rows"], found["total"]["alerts"], found["total"]["agreement"]) == (None,) * 3
    assert found["total"]["found_per_record"] is found["total"]["found_per_hour"] is None
    names = [sentence.partition(":")[0] for sentence in found["missing"]]
    assert names == ["rows and alerts", "agreement", "anomalies found", "recall"]


def test_what_is_scored_and_labelled_now_is_in_the_last_hour_and_day(client: httpx.Client) -> None:
    body = {"records": [RECORD, {"amount": "much", "country": "DE", "channel": "web"}]}
    client.post("/score", json=body).raise_for_status()
    score(client, RECORD)
    stored(label(client, {"record": RECORD, "label": "anomaly"}))
    until(lambda: (asked(client)["total"]["rows"] or 0) >= 2)
    found = asked(client, days="2")
    for periods in (found["hours"][-2:], found["days"], [found["total"]]):  # an hour or a day may begin here
        for name, count in (("rows", 2), ("labelled_anomaly", 1), ("found", 1)):
            assert sum(period[name] or 0 for period in periods) == count
    assert found["process"] == {"scored": 2, "errors": 1}
    assert found["drift"]["prototypes"] == client.get("/drift").json()["prototypes"] | {"drifted_since": None}


def test_traffic_is_summed_by_hour_and_day_without_what_was_only_scored_again(
    client: httpx.Client, ledger: Ledger, payments: Bundle
) -> None:
    hour = NOON // HOUR
    with ledger.write() as connection:
        for writer, version in (("a", "v1"), ("b", "v2"), (RESCORED, "v2")):
            one = Counted("default", hour, version, writer, 100, 5, 2, 1, 0, {})
            traffic.put(
                connection, writer, [one, Counted("default", hour + 1, version, "c", 10, 0, 0, 0, 0, {})]
            )
    found = asked(client)
    that = day(found, NOON)
    assert (that["rows"], that["alerts"]) == (220, 16)
    assert (that["by_score"], that["by_novelty"], that["by_label"]) == (10, 4, 2)
    assert found["total"]["rows"] == 220
    assert day(found, NOON + 24 * HOUR)["rows"] == 0
    assert day(found, NOON - 24 * HOUR)["rows"] is None
    assert found["missing"][0].startswith("rows and alerts")


def test_an_analysts_time_is_the_pauses_up_to_ten_minutes_and_a_minute_to_begin(
    client: httpx.Client, ledger: Ledger
) -> None:
    for minutes in (0, 2, 12, 23):
        say(ledger, NOON + minutes * MINUTE, f"d{minutes}", "normal")
    say(ledger, NOON + 5 * MINUTE, "other", "anomaly", analyst="bo")
    that = day(asked(client), NOON)
    assert that["analyst_hours"] == pytest.approx((1 + 2 + 10 + 1 + 1) / 60, abs=1e-4)
    assert that["found_per_hour"] == pytest.approx(4, abs=1e-3)
    assert that["found_per_record"] == 0.2
    assert (that["labelled_anomaly"], that["labelled_normal"]) == (1, 4)


def test_a_record_is_reviewed_once_where_it_was_first_judged_and_found_while_it_stands(
    client: httpx.Client, ledger: Ledger
) -> None:
    say(ledger, NOON, "d1", "anomaly")
    say(ledger, NOON + 24 * HOUR, "d1", "anomaly", analyst="bo")
    undone = say(ledger, NOON, "d2", "anomaly")
    say(ledger, NOON + MINUTE, "d2", "retract", retracts=undone)
    say(ledger, NOON, "d3", "anomaly")
    say(ledger, NOON + MINUTE, "d3", "normal")
    found = asked(client)
    that, next_day = day(found, NOON), day(found, NOON + 24 * HOUR)
    assert (that["reviewed"], that["found"], that["retracted"]) == (2, 1, 1)
    assert (next_day["reviewed"], next_day["found"], next_day["labelled_anomaly"]) == (0, 0, 1)
    assert (found["total"]["reviewed"], found["total"]["found"]) == (2, 1)


def test_agreement_is_of_records_that_several_judged_by_what_each_said_last(
    client: httpx.Client, ledger: Ledger
) -> None:
    for digest, by_bo in (("d1", "anomaly"), ("d2", "normal"), ("d3", "normal"), ("d4", "normal")):
        say(ledger, NOON, digest, "anomaly")
        said = say(ledger, NOON + MINUTE, digest, by_bo, analyst="bo")
    say(ledger, NOON + 2 * MINUTE, "d2", "normal")  # ann came round
    say(ledger, NOON + 2 * MINUTE, "d4", "retract", analyst="bo", retracts=said)
    that = day(asked(client), NOON)
    assert (that["compared"], that["agreement"]) == (3, pytest.approx(2 / 3, abs=1e-4))
    with ledger.write() as connection:
        quarantine.add(connection, Quarantine("analyst", "bo", now_ms(), "boss", "guesses"))
    assert day(asked(client), NOON)["compared"] == 0


def test_what_lies_before_the_days_asked_for_is_not_in_their_total(
    client: httpx.Client, ledger: Ledger
) -> None:
    say(ledger, NOON, "old", "anomaly")
    say(ledger, now_ms(), "new", "anomaly")
    assert asked(client, days="2")["total"]["labelled_anomaly"] == 1
    assert asked(client, days="12")["total"]["labelled_anomaly"] == 2
    assert len(asked(client, days="2")["days"]) == 2
    for digest in ("among", "the hours"):
        say(ledger, now_ms() - 40 * HOUR, digest, "anomaly")
    today = asked(client, days="1")
    assert today["total"]["labelled_anomaly"] <= 1  # none where a day began since
    assert sum(hour["labelled_anomaly"] for hour in today["hours"]) == 3


def test_a_wrong_question_is_a_problem_that_names_it(client: httpx.Client) -> None:
    for days in ("0", "57", "many"):
        problem(client.get("/overview/figures", params={"days": days}), 422, "invalid-request")
    problem(client.get("/overview/figures", params={"model": "other"}), 404, "unknown-model")


def test_a_day_that_has_just_begun_is_one_of_the_days(client: httpx.Client, ledger: Ledger) -> None:
    midnight = (now_ms() // (24 * HOUR) + 1) * 24 * HOUR
    with ledger.read() as connection:
        found = overview.read(connection, "default", 2, midnight)
    assert [period.start for period in found.days] == [midnight // HOUR - 24, midnight // HOUR]
    assert found.hours[-1].start == midnight // HOUR

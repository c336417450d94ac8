"""POST /score over HTTP: what is sent, what comes back, and every way to get it wrong."""

import json
from typing import Any

import httpx
import pytest
from httpx import Client

from nearnorm.service.errors import PROBLEM, TYPE_PREFIX
from nearnorm.service.scoring.explain import MOST_ROWS

RECORD = {"amount": 61.5, "epoch": 1700000123, "new device": False, "country": "DE", "channel": "web"}


def post(client: Client, **request: Any) -> httpx.Response:
    return client.post("/score", json=request)


def one(client: Client, record: dict[str, Any], **options: Any) -> dict[str, Any]:
    response = post(client, records=[record], **options)
    assert response.status_code == 200, response.text
    result: dict[str, Any] = response.json()["results"][0]
    return result


def problem(response: httpx.Response, status: int, name: str) -> dict[str, Any]:
    """The one shape of every error."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM
    found: dict[str, Any] = response.json()
    assert found["type"] == TYPE_PREFIX + name
    assert found["status"] == status
    assert found["title"]
    assert found["detail"]
    return found


def test_a_record_gets_a_whole_answer(client: Client) -> None:
    answer = post(client, records=[RECORD], ids=["tx-1"]).json()
    assert answer["model"]["name"] == "default"
    assert len(answer["model"]["version"]) == 64
    assert answer["provider"] == "CPUExecutionProvider"
    result = answer["results"][0]
    assert result["id"] == "tx-1"
    assert 0 <= result["score"] <= 1
    assert 0 <= result["percentile"] <= 100
    assert result["anomaly"] is False
    assert result["prototype"] == 0
    assert result["distance"] > 0
    assert result["reconstruction_error"] > 0
    assert not {"imputed", "unknown", "reasons", "error"} & result.keys()


def test_a_strange_record_is_an_anomaly(client: Client) -> None:
    result = one(client, RECORD | {"amount": 900.0})
    assert result["anomaly"] is True
    assert result["percentile"] > 99


def test_records_and_columns_give_the_same_numbers(client: Client) -> None:
    records = [RECORD | {"amount": 10.0 * i} for i in range(20)]
    rows = post(client, records=records).json()["results"]
    columns = post(client, columns={name: [r[name] for r in records] for name in RECORD}).json()["results"]
    for name in columns.keys() - {"event_id"}:
        assert columns[name] == pytest.approx([row[name] for row in rows], rel=1e-5)


def test_integers_and_large_numbers_keep_their_differences(client: Client) -> None:
    near = one(client, RECORD | {"epoch": 1_700_000_000})["distance"]
    far = one(client, RECORD | {"epoch": 1_700_050_000})["distance"]
    assert far != near


@pytest.mark.parametrize("epoch", [{}, {"epoch": None}])
def test_a_missing_value_is_imputed_and_named(client: Client, epoch: dict[str, None]) -> None:
    record = {name: value for name, value in RECORD.items() if name != "epoch"} | epoch
    assert one(client, record)["imputed"] == ["epoch"]


def test_missing_numbers_and_categories_are_all_named(client: Client) -> None:
    assert one(client, {"amount": 1, "channel": "web"})["imputed"] == ["epoch", "new device", "country"]


def test_a_missing_value_that_must_be_there_is_the_rows_error(client: Client) -> None:
    results = post(client, records=[RECORD, {}, RECORD | {"channel": None}], ids=[1, 2, 3]).json()["results"]
    assert results[0]["score"] > 0
    assert results[1]["error"]["field"] == "amount"
    assert results[1]["error"]["type"] == TYPE_PREFIX + "missing-value"
    assert results[1]["id"] == 2
    assert results[2]["error"]["field"] == "channel"


def test_an_unknown_category_is_scored_and_named(client: Client) -> None:
    result = one(client, RECORD | {"country": "Atlantis"})
    assert result["unknown"] == ["country"]
    assert "score" in result


def test_a_column_that_training_left_out_may_be_sent(client: Client) -> None:
    response = post(client, records=[RECORD | {"transaction id": {"any": ["thing"]}}])
    assert "warnings" not in response.json()
    assert "imputed" not in response.json()["results"][0]


def test_unknown_fields_are_ignored_and_listed_once(client: Client) -> None:
    extra = RECORD | {"colour": "red", "size": 4}
    answer = post(client, records=[extra, RECORD, extra]).json()
    assert answer["warnings"] == ["unknown field 'colour' was ignored", "unknown field 'size' was ignored"]
    first, second, _ = answer["results"]
    assert first["score"] == pytest.approx(second["score"])
    assert not {"imputed", "unknown", "error"} & first.keys()


def test_no_more_than_twenty_unknown_fields_are_listed(client: Client) -> None:
    answer = post(client, records=[RECORD | {f"x{i}": i for i in range(50)}]).json()
    assert len(answer["warnings"]) == 21
    assert answer["warnings"][-1] == "30 more unknown fields were ignored"


def test_strict_makes_an_unknown_field_the_rows_error(client: Client) -> None:
    answer = post(client, records=[RECORD | {"colour": "red"}, RECORD], strict=True).json()
    assert answer["results"][0]["error"]["field"] == "colour"
    assert answer["results"][0]["error"]["type"] == TYPE_PREFIX + "unknown-field"
    assert "score" in answer["results"][1]


@pytest.mark.parametrize("number", ["1e999", "-1e400", "1" + "0" * 400])
def test_a_number_beyond_float64_is_the_rows_error(client: Client, number: str) -> None:
    record = json.dumps(RECORD | {"amount": 0}).replace('"amount": 0', f'"amount": {number}')
    response = client.post(
        "/score",
        content=f'{{"records": [{record}, {json.dumps(RECORD)}]}}',
        headers={"Content-Type": "application/json"},
    )
    results = response.json()["results"]
    assert results[0]["error"]["field"] == "amount"
    assert "finite" in results[0]["error"]["detail"]
    assert "score" in results[1]


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity"])
def test_a_literal_that_is_no_json_is_named(client: Client, literal: str) -> None:
    body = f'{{"records": [{{"amount": {literal}, "channel": "web"}}]}}'
    response = client.post("/score", content=body, headers={"Content-Type": "application/json"})
    assert literal.strip("-") in problem(response, 400, "malformed-body")["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"{",
        b'{"records": [{"amount": 1}',
        b'{"records": [{"amount": 01}]}',
        b'{"records": [{"country": "\xff\xfe"}]}',
        b'{"records": [{"country": "\\ud800"}]}',
        b'{"records": [{"amount": 1e999, "country": "\\ud800"}]}',
        b'{"records": ' + b"[" * 100_000,
    ],
)
def test_a_body_that_is_no_json_is_refused(client: Client, body: bytes) -> None:
    response = client.post("/score", content=body, headers={"Content-Type": "application/json"})
    problem(response, 400, "malformed-body")


@pytest.mark.parametrize(
    ("request_body", "field"),
    [
        ({}, None),
        ([], None),
        ([[[]]], None),
        ("records", None),
        ({"records": [RECORD], "columns": {"amount": [1]}}, None),
        ({"records": []}, "records"),
        ({"records": {}}, "records"),
        ({"records": None}, "records"),
        ({"columns": {}}, "columns"),
        ({"columns": {"amount": []}}, "columns"),
        ({"columns": {"amount": 5}}, "amount"),
        ({"columns": {"amount": [1, 2], "channel": ["web"]}}, "channel"),
        ({"columns": {"amount": [1, "2"], "channel": ["web"]}}, "channel"),
        ({"columns": {"colour": ["red"]}}, "columns"),
        ({"columns": {"amount": [1], "channel": ["web"], "colour": ["red"]}, "strict": True}, "colour"),
        ({"records": [RECORD], "ids": []}, "ids"),
        ({"records": [RECORD], "ids": ["a", "b"]}, "ids"),
        ({"records": [RECORD, RECORD], "ids": ["a", "a"]}, "ids"),
        ({"records": [RECORD], "ids": [1.5]}, "ids[0]"),
        ({"records": [RECORD], "ids": [None]}, "ids[0]"),
        ({"records": [RECORD], "explain": "yes"}, "explain"),
        ({"records": [RECORD], "explian": True}, None),
        ({"records": [RECORD], "model": 3}, "model"),
    ],
)
def test_a_request_that_does_not_fit_names_the_field(
    client: Client, request_body: object, field: str | None
) -> None:
    found = problem(client.post("/score", json=request_body), 422, "invalid-request")
    assert found.get("field") == field


def test_a_mistyped_option_is_named(client: Client) -> None:
    assert (
        "explian" in problem(post(client, records=[RECORD], explian=True), 422, "invalid-request")["detail"]
    )


def test_a_record_that_is_no_object_is_the_rows_error(client: Client) -> None:
    results = post(client, records=[5, RECORD, [1], None]).json()["results"]
    assert [r.get("error", {}).get("type") for r in results] == [
        TYPE_PREFIX + "not-a-record",
        None,
        TYPE_PREFIX + "not-a-record",
        TYPE_PREFIX + "not-a-record",
    ]


def test_a_request_of_bad_rows_only_is_still_answered(client: Client) -> None:
    results = post(client, records=[{"amount": "x"}, {}]).json()["results"]
    assert [r["error"]["field"] for r in results] == ["amount", "amount"]


def test_an_unknown_model_is_named_with_those_there_are(client: Client) -> None:
    for records in ([RECORD], [{"colour": "red"}]):
        found = problem(post(client, records=records, model="fraud"), 404, "unknown-model")
        assert "'fraud'" in found["detail"]
        assert "default" in found["detail"]


def test_a_thousand_rows_and_ten_thousand_are_taken(client: Client) -> None:
    for count in (1_000, 10_000):
        answer = post(client, columns={"amount": [50.0] * count, "channel": ["web"] * count}).json()
        assert len(answer["results"]["score"]) == count
    results = post(client, records=[RECORD] * 3_000).json()["results"]
    assert len({r["score"] for r in results}) == 1


def test_too_many_rows_are_refused(client: Client) -> None:
    for request in ({"records": [RECORD] * 10_001}, {"columns": {"amount": [1.0] * 10_001}}):
        assert "10000" in problem(post(client, **request), 413, "too-many-rows")["detail"]


def test_a_body_over_the_limit_is_refused(client: Client) -> None:
    body = b'{"records": [' + b" " * (32 * 2**20) + b"]}"
    headers = {"Content-Type": "application/json"}
    problem(client.post("/score", content=body, headers=headers), 413, "body-too-large")
    chunks = (b" " * 2**20 for _ in range(40))
    problem(client.post("/score", content=chunks, headers=headers), 413, "body-too-large")


@pytest.mark.parametrize("kind", ["text/csv", "application/x-www-form-urlencoded", "application/jsonx"])
def test_another_content_type_is_refused(client: Client, kind: str) -> None:
    found = problem(
        client.post("/score", content=b"{}", headers={"Content-Type": kind}), 415, "unsupported-media-type"
    )
    assert kind in found["detail"]


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON"])
def test_json_may_be_spelled_in_any_way(client: Client, kind: str) -> None:
    body = json.dumps({"records": [RECORD]})
    assert client.post("/score", content=body, headers={"Content-Type": kind}).status_code == 200


def test_only_post_is_answered(client: Client) -> None:
    response = client.get("/score")
    problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "POST"


def test_columns_tell_of_errors_gaps_and_unknown_categories_by_row(client: Client) -> None:
    answer = post(
        client,
        columns={
            "amount": [50, None, "x", 60],
            "channel": ["web"] * 4,
            "country": ["DE", "DE", "DE", "Atlantis"],
            "new device": [True, True, True, None],
        },
        ids=["a", "b", "c", "d"],
    ).json()
    results = answer["results"]
    assert results["id"] == ["a", "b", "c", "d"]
    assert [score is None for score in results["score"]] == [False, True, True, False]
    assert [(e["index"], e["id"], e["field"], e["type"]) for e in answer["errors"]] == [
        (1, "b", "amount", TYPE_PREFIX + "missing-value"),
        (2, "c", "amount", TYPE_PREFIX + "invalid-value"),
    ]
    assert results["imputed"] == {"epoch": [0, 3], "new device": [3]}
    assert results["unknown"] == {"country": [3]}


def test_ids_may_be_numbers_and_come_back_as_they_were(client: Client) -> None:
    results = post(client, records=[RECORD, RECORD], ids=[7, "7"]).json()["results"]
    assert [r["id"] for r in results] == [7, "7"]


def test_an_explanation_names_what_is_strange_and_the_group_it_is_strange_to(client: Client) -> None:
    answer = post(client, records=[RECORD | {"amount": 900, "country": "Atlantis"}], explain=True).json()
    result = answer["results"][0]
    reasons = result["reasons"]
    assert reasons[0]["feature"] == "amount"
    assert reasons[0]["value"] == 900
    assert reasons[0]["expected"]["high"] == 80.0
    assert reasons[0]["residual"] > reasons[0]["usual_residual"]
    assert all(r["effect"] > 0 or r["rebuilt"] > 0 for r in reasons)
    assert result["unknown"] == ["country"]
    assert len(reasons) <= 5
    group = answer["groups"][str(result["prototype"])]
    assert group["numeric"]["amount"]["median"] == 50.0


def test_a_usual_record_has_no_reasons(client: Client) -> None:
    assert one(client, RECORD | {"epoch": 1_700_000_000}, explain=True)["reasons"] == []


def test_columns_are_explained_too(client: Client) -> None:
    answer = post(client, columns={"amount": [900, "x"], "channel": ["web", "web"]}, explain=True).json()
    assert answer["results"]["reasons"][0][0]["feature"] == "amount"
    assert answer["results"]["reasons"][1] is None


def test_more_rows_than_are_explained_are_scored_all_the_same_and_told(client: Client) -> None:
    amounts = [50.0] * MOST_ROWS + [900.0]
    answer = post(client, columns={"amount": amounts, "channel": ["web"] * len(amounts)}, explain=True).json()
    reasons = answer["results"]["reasons"]
    assert len(answer["results"]["score"]) == len(reasons) == MOST_ROWS + 1
    assert reasons.count(None) == 1
    assert reasons[-1][0]["feature"] == "amount"  # the highest is among them
    assert answer["warnings"] == [
        f"reasons are given for the {MOST_ROWS} highest of {MOST_ROWS + 1} rows: "
        "send the others by themselves"
    ]


def test_reasons_say_what_their_values_put_on_the_score(client: Client) -> None:
    reasons = one(client, RECORD | {"amount": 900.0}, explain=True)["reasons"]
    assert reasons[0]["effect"] > 1.0
    together = [reason["together"] for reason in reasons]
    assert together == sorted(together)

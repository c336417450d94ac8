"""JSON lines in and out of /score: a line of answer for each line, whatever that holds."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.app import create_app
from nearnorm.service.errors import TYPE_PREFIX
from nearnorm.service.records import lines
from nearnorm.service.records.lines import count, split
from nearnorm.service.scoring import long_bodies
from nearnorm.service.settings import Settings
from tests.service.api.test_health import value
from tests.service.bundles import KEPT, make_bundle
from tests.service.running import home_with, serving
from tests.service.scoring.test_endpoint import RECORD, problem
from tests.service.waiting import until

NDJSON = "application/x-ndjson"
STRANGE = RECORD | {"amount": 900.0}
MISTYPED = RECORD | {"amount": "61.5"}  # read as JSON in any shape, to the same number


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Iterator[httpx.Client]:
    home = home_with(tmp_path_factory.mktemp("home"), bundle)
    with serving(create_app(Settings(home=home, audit_rate=0.0, max_body_bytes=4 * 2**20))) as client:
        yield client


def lines_of(*records: Any) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def post(client: httpx.Client, body: bytes, **parameters: str) -> httpx.Response:
    return client.post("/score", content=body, headers={"Content-Type": NDJSON}, params=parameters)


def answers(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == NDJSON
    assert response.content.endswith(b"\n")
    return [json.loads(line) for line in response.content[:-1].split(b"\n")]


def kinds(response: httpx.Response) -> list[str]:
    """Of every line: scored, or the type of its problem."""
    errors = [answer["error"]["type"] if "error" in answer else "scored" for answer in answers(response)]
    return [error.removeprefix(TYPE_PREFIX) for error in errors]


@pytest.mark.parametrize("more", [[], [MISTYPED], [{"amount": "x"}, 7, MISTYPED]])
def test_lines_are_answered_as_json_records_are(client: httpx.Client, more: list[Any]) -> None:
    records = [RECORD | {"transaction id": "tx-1"}, RECORD | {"epoch": None}, STRANGE, *more]
    response = post(client, lines_of(*records))
    told = client.post("/score", json={"records": records}).json()
    found = answers(response)
    assert found[2].pop("event_id") != told["results"][2].pop("event_id")
    assert found == told["results"]
    assert response.headers["nearnorm-model-version"] == told["model"]["version"]


def test_reasons_and_another_model_are_asked_for_by_parameters(client: httpx.Client) -> None:
    usual, strange = answers(post(client, lines_of(RECORD, STRANGE), explain="true", model="default"))
    assert (usual["reasons"], strange["reasons"][0]["feature"]) == ([], "amount")
    problem(post(client, lines_of(RECORD), model="fraud"), 404, "unknown-model")
    problem(post(client, lines_of(RECORD), strict="true"), 422, "invalid-request")


def test_a_bad_line_is_its_own_problem_in_its_place(client: httpx.Client) -> None:
    good = json.dumps(RECORD).encode()
    bad = {
        b"{": "malformed-line",
        b"": "malformed-line",
        b" \t": "malformed-line",
        good + b" " + good: "malformed-line",
        good + b"," + good: "malformed-line",
        b'{"amount": NaN}': "malformed-line",
        b'{"amount": 1, "channel": "w\xff\xfe"}': "malformed-line",
        b'{"amount": 1, "channel": "\\ud800"}': "malformed-line",
        b"[" * 100_000: "malformed-line",
        b'{"z":"%b"}' % (b"z" * 2**20): "malformed-line",
        b"[1]": "not-a-record",
        b"null": "not-a-record",
        b'"text"': "not-a-record",
        b'{"amount": 1e999, "channel": "web"}': "invalid-value",
        b'{"amount": [1], "channel": "web"}': "invalid-value",
    }
    body = b"\n".join(line for one in bad for line in (good, one)) + b"\n" + good
    assert kinds(post(client, body)) == [kind for one in bad.values() for kind in ("scored", one)] + [
        "scored"
    ]


def test_what_is_wrong_with_a_line_is_said_of_the_line(client: httpx.Client) -> None:
    body = lines_of(RECORD) + b'{"amount": NaN, "channel": "web"}\n\n' + b'{"amount": 1,}\n'
    errors = [answer["error"] for answer in answers(post(client, body))[1:]]
    assert [error["detail"] for error in errors] == [
        "the line is no JSON: NaN is no JSON number, send null",
        "the line is empty: send a record, or leave it out",
        "the line is no JSON: JSON is malformed: trailing comma in object (byte 13)",
    ]
    assert {error["title"] for error in errors} == {"The line cannot be read"}


@pytest.mark.parametrize("record", [RECORD, MISTYPED])
@pytest.mark.parametrize(
    ("body", "scored"),
    [
        (b"%b", 1),
        (b"%b\n", 1),
        (b"%b\r\n%b\r\n", 2),
        (b"\xef\xbb\xbf%b\n%b", 2),
        (b"  %b  \n\t%b\n", 2),
    ],
)
def test_ends_of_lines_and_a_byte_order_mark_are_taken_as_they_come(
    client: httpx.Client, record: dict[str, Any], body: bytes, scored: int
) -> None:
    line = json.dumps(record).encode()
    assert kinds(post(client, body.replace(b"%b", line))) == ["scored"] * scored


def test_unknown_fields_are_warned_of_in_the_first_line(client: httpx.Client) -> None:
    first, second = answers(post(client, lines_of({"amount": "x"}, RECORD | {"colour": "red"})))
    assert first["warnings"] == ["unknown field 'colour' was ignored"]
    assert ("error" in first, "warnings" in second) == (True, False)


def test_the_body_as_a_whole_has_the_bounds_of_json(client: httpx.Client) -> None:
    many = b"{}\n" * 10_001
    assert "10001 rows" in problem(post(client, many), 413, "too-many-rows")["detail"]
    problem(post(client, b"\n" * (4 * 2**20)), 413, "too-many-rows")
    problem(post(client, b" " * (4 * 2**20 + 1)), 413, "body-too-large")
    problem(post(client, b"[" * 1_000_001), 413, "body-too-large")
    problem(post(client, b""), 400, "malformed-body")
    packed = client.post(
        "/score",
        content=gzip.compress(lines_of(RECORD, STRANGE)),
        headers={"Content-Type": "application/ndjson", "Content-Encoding": "gzip"},
    )
    assert kinds(packed) == ["scored", "scored"]
    bomb = client.post(
        "/score",
        content=gzip.compress(b" " * 5 * 2**20),
        headers={"Content-Type": NDJSON, "Content-Encoding": "gzip"},
    )
    problem(bomb, 413, "body-too-large")


def test_what_a_line_raises_is_kept_and_labelled_by_its_own_id(client: httpx.Client) -> None:
    (told,) = answers(post(client, lines_of(STRANGE | {"transaction id": "line-1"})))
    until(lambda: client.get("/events", params={"id": "line-1"}).json()["events"])
    (event,) = client.get("/events", params={"id": "line-1"}).json()["events"]
    assert (event["event_id"], event["anomaly"]) == (told["event_id"], True)
    label = {"record_id": "line-1", "label": "normal"}
    client.post("/feedback", json={"labels": [label]}).raise_for_status()
    (again,) = answers(post(client, lines_of(STRANGE | {"transaction id": "line-1"})))
    assert again["matched_feedback"]["label"] == "normal"
    client.post("/forget", json={"record_id": "line-1"}).raise_for_status()


def test_other_routes_read_no_lines(client: httpx.Client) -> None:
    answer = client.post("/feedback", content=b"{}\n", headers={"Content-Type": NDJSON})
    problem(answer, 415, "unsupported-media-type")


def test_ten_thousand_lines_come_back_in_order(client: httpx.Client) -> None:
    records = [RECORD | {"amount": i % 97, "transaction id": f"tx-{i}"} for i in range(10_000)]
    found = answers(post(client, lines_of(*records)))
    assert [answer["id"] for answer in found] == [record["transaction id"] for record in records]
    rows = value(client, "nearnorm_rows_total", model="default")
    post(client, lines_of(RECORD))
    until(lambda: value(client, "nearnorm_rows_total", model="default") == rows + 1)


_line = st.sampled_from(
    [json.dumps(record).encode() for record in (RECORD, STRANGE, MISTYPED, {}, RECORD | {"country": "é"}, 7)]
    + [b"", b"{", b'{"amount": NaN}', b"\xff", b"[[", b'{"a":1}{', b"]}"]
) | st.binary(max_size=20).filter(lambda line: b"\n" not in line)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_line, min_size=1, max_size=8))
def test_there_is_a_line_for_each_line_read_here_and_in_the_bulk_process(
    client: httpx.Client, sent: list[bytes]
) -> None:
    body = b"\n".join(sent) + b"\n"
    inline = post(client, body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_bodies, "INLINE_LOOSE_BYTES", 0)
        bulk = post(client, body)
    assert len(answers(inline)) == len(sent)
    for one, other in zip(answers(inline), answers(bulk), strict=True):
        assert ("event_id" in one, "error" in one) == ("event_id" in other, "score" not in one)
        assert {**one, "event_id": ""} == {**other, "event_id": ""}


@given(st.binary())
def test_as_many_lines_are_split_as_are_counted(body: bytes) -> None:
    assert len(split(body)) == count(body)


def test_halves_of_characters_are_mended_where_columns_are_kept(tmp_path: Any) -> None:
    home = home_with(tmp_path / "home", make_bundle(tmp_path / "kept", features=KEPT))
    halved = json.dumps(RECORD | {"country": "DE\ud800"}).encode() + b"\n"
    with serving(create_app(Settings(home=home))) as client:
        told = client.post(
            "/score",
            content=b'{"records":[%b]}' % halved,
            headers={"Content-Type": "application/json"},
        )
        (found,) = answers(post(client, halved))
        assert {**found, "event_id": ""} == {**told.json()["results"][0], "event_id": ""}


def test_typed_lines_are_not_read_one_value_after_the_other(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "record_of", None)
    assert kinds(post(client, lines_of(RECORD, STRANGE))) == ["scored", "scored"]

"""What takes long to read is read beside the event loop, and no more of it than a few requests waits."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pyarrow as pa
import pytest

from nearnorm.service.records.encoder import Encoded, Encoder
from nearnorm.service.scoring import arrow
from nearnorm.service.scoring.long_reads import (
    INLINE_BYTES,
    INLINE_LOOSE_BYTES,
    MOST_WAITING,
)
from tests.contract.wire import connect, score_request
from tests.service.scoring.test_bulk import post, stream
from tests.service.scoring.test_endpoint import RECORD, problem

PADDING = "transaction id"  # a field that is sent and not scored


def sent(client: httpx.Client, **request: Any) -> httpx.Response:
    return client.post("/score", content=json.dumps(request), headers={"Content-Type": "application/json"})


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where each request was read."""
    found: list[str] = []
    encode, read = Encoder.encode, arrow.read

    def encoded(encoder: Encoder, request: Any) -> Encoded:
        found.append(threading.current_thread().name)
        return encode(encoder, request)

    def noted(*given: Any) -> Encoded:
        found.append(threading.current_thread().name)
        return read(*given)

    monkeypatch.setattr(Encoder, "encode", encoded)
    monkeypatch.setattr(arrow, "read", noted)
    return found


@pytest.mark.parametrize(
    ("padding", "record", "beside"),
    [
        (0, RECORD, False),
        (INLINE_LOOSE_BYTES, RECORD, False),
        (INLINE_BYTES, RECORD, True),
        (0, RECORD | {"amount": "1"}, False),
        (INLINE_LOOSE_BYTES, RECORD | {"amount": "1"}, True),
    ],
)
def test_json_is_read_beside_the_loop_where_it_is_long(
    client: httpx.Client, threads: list[str], padding: int, record: dict[str, Any], beside: bool
) -> None:
    answer = sent(client, records=[record, record | {PADDING: "x" * padding}])
    assert answer.status_code == 200, answer.text
    assert all("score" in result for result in answer.json()["results"])
    assert [name.startswith("decode") for name in threads] == [beside]


@pytest.mark.parametrize(("rows", "beside"), [(10, False), (10_000, True)])
def test_a_stream_is_read_beside_the_loop_where_it_is_long(
    client: httpx.Client, threads: list[str], rows: int, beside: bool
) -> None:
    table = pa.table({name: [value] * rows for name, value in RECORD.items()})
    assert post(client, stream(table, rows)).status_code == 200
    assert [name.startswith("decode") for name in threads] == [beside]


def test_mistakes_are_told_from_beside_the_loop_too(client: httpx.Client) -> None:
    for padding in (INLINE_LOOSE_BYTES, INLINE_BYTES):
        long = {"amount": "x", PADDING: "x" * (padding // 2)}
        assert sent(client, records=[long, long]).json()["results"][0]["error"]["field"] == "amount"
        twice = sent(client, records=[long, long], ids=["a", "a"])
        assert "was sent twice" in problem(twice, 422, "invalid-request")["detail"]


def test_no_more_than_a_few_long_requests_wait(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, encode = threading.Event(), Encoder.encode

    def waits(encoder: Encoder, request: Any) -> Encoded:
        if threading.current_thread().name.startswith("decode"):
            assert go_on.wait(20)
        return encode(encoder, request)

    monkeypatch.setattr(Encoder, "encode", waits)
    long = {"records": [RECORD | {"amount": "1", PADDING: "x" * INLINE_LOOSE_BYTES}]}
    with ThreadPoolExecutor(2 * MOST_WAITING) as pool:
        answers = [pool.submit(sent, client, **long) for _ in range(MOST_WAITING + 3)]
        refused = [answer for answer in answers if _is_done(answer)]
        while len(refused) < 3:
            refused = [answer for answer in answers if _is_done(answer)]
        assert sent(client, records=[RECORD]).status_code == 200  # nobody else waits for them
        go_on.set()
        statuses = sorted(answer.result().status_code for answer in answers)
    assert statuses == [200] * MOST_WAITING + [429] * 3
    problem(refused[0].result(), 429, "overloaded")


def _is_done(answer: Any) -> bool:
    done: bool = answer.done()
    return done


def test_a_client_who_hangs_up_while_his_request_is_read_harms_nobody(client: httpx.Client) -> None:
    long = score_request(rows=2_000, strict=True, explain=False)
    loose = long.replace(b'"amount": 61.5', b'"amount": "1" ')
    for _ in range(5):
        with connect(client) as connection:
            connection.sendall(loose)
    assert sent(client, records=[RECORD]).status_code == 200

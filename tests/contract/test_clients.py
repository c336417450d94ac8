"""Clients that are slow, too many or too large, or that go away: each over a real socket."""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.app import create_app
from nearnorm.service.settings import Settings
from tests.contract.wire import connect, get, replies, reply, score_request
from tests.service.bundles import make_bundle
from tests.service.running import home_with, serving
from tests.service.waiting import until

PATIENCE = 0.3
CONNECTIONS = 8


@pytest.fixture(scope="module")
def payments(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "payments")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, payments: Bundle) -> Iterator[httpx.Client]:
    settings = Settings(
        home=home_with(tmp_path_factory.mktemp("home"), payments),
        idle_seconds=2 * PATIENCE,
        receive_seconds=PATIENCE,
        send_seconds=PATIENCE,
        max_header_bytes=2048,
        max_headers=20,
        max_connections=CONNECTIONS,
        max_body_bytes=4_000_000,
    )
    with serving(create_app(settings)) as client:
        yield client


def rows_scored(client: httpx.Client) -> int:
    lines = client.get("/metrics").text.splitlines()
    return int(next(float(line.split()[-1]) for line in lines if line.startswith("nearnorm_rows_total{")))


def failures(client: httpx.Client) -> list[str]:
    lines = client.get("/metrics").text.splitlines()
    return [line for line in lines if line.startswith("nearnorm_requests_total") and 'status="5' in line]


def connections_refused(client: httpx.Client, reason: str) -> int:
    name = f'nearnorm_connections_refused_total{{reason="{reason}"}}'
    lines = client.get("/metrics").text.splitlines()
    return sum(int(float(line.split()[-1])) for line in lines if line.startswith(name))


def drip(connection: socket.socket, data: bytes) -> None:
    """A byte every twentieth of a second, as long as anybody takes it."""
    with contextlib.suppress(ConnectionError):
        for place in range(len(data)):
            connection.sendall(data[place : place + 1])
            time.sleep(0.05)


def closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("path", ["/score", "/feedback"])
@pytest.mark.parametrize("sent", [b"", b'{"records": ['])
def test_a_request_that_comes_too_slowly_is_told_so_and_cut_off(
    client: httpx.Client, path: str, sent: bytes
) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode()
    whole = head if not sent else head + b"Content-Length: 1000\r\n\r\n" + sent
    counted = connections_refused(client, "request-timeout")
    with connect(client) as connection:
        connection.sendall(whole)
        drip(connection, b"X-A: " if not sent else b"1,2,3")
        started = time.monotonic()
        found = replies(connection)
        assert time.monotonic() - started < 30  # not for ever: a busy machine is late
    assert len(found) == 1
    found[0].problem(408, "request-timeout")
    assert connections_refused(client, "request-timeout") == counted + 1
    assert failures(client) == []


def test_a_connection_without_a_request_is_closed(client: httpx.Client) -> None:
    with connect(client) as fresh, connect(client) as used:
        used.sendall(get("/healthz"))
        assert reply(used).status == 200
        for connection in (fresh, used):
            assert closed(connection)


def test_a_client_that_does_not_read_its_answers_is_cut_off(client: httpx.Client) -> None:
    many = 12  # more than the system's own buffers hold
    counted = connections_refused(client, "slow-reader")
    with connect(client, receive_buffer=4096) as connection:
        connection.settimeout(3 * PATIENCE)
        with contextlib.suppress(ConnectionError, TimeoutError):
            connection.sendall(score_request(5_000) * many)
        until(lambda: connections_refused(client, "slow-reader") == counted + 1, 120)
        got = b""
        with contextlib.suppress(ConnectionError):
            while chunk := connection.recv(1 << 16):
                got += chunk
    assert got.startswith(b"HTTP/1.1 200")
    assert got.count(b"HTTP/1.1 200") < many


def test_a_client_that_reads_slowly_but_on_gets_its_answers(client: httpx.Client) -> None:
    with connect(client, receive_buffer=4096) as connection:
        for _ in range(4):
            connection.sendall(score_request(5_000))
            assert reply(connection).body.count(b'"score"') == 5_000


@pytest.mark.parametrize(
    "headers",
    ["".join(f"X-{i}: 1\r\n" for i in range(30)), "X-Long: " + "x" * 4000 + "\r\n"],
    ids=["too many", "too long"],
)
def test_a_head_beyond_its_bounds_is_refused(client: httpx.Client, headers: str) -> None:
    counted = connections_refused(client, "headers-too-large")
    with connect(client) as connection:
        connection.sendall(f"GET /healthz HTTP/1.1\r\n{headers}\r\n".encode())
        (found,) = replies(connection)
    found.problem(431, "headers-too-large")
    assert connections_refused(client, "headers-too-large") == counted + 1


def test_a_head_without_end_is_refused_before_it_fills_the_memory(client: httpx.Client) -> None:
    with connect(client) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nX-Long: ")
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 4_000_000:
                connection.sendall(b"x" * 1000)
                sent += 1000
                time.sleep(0.001)
        assert sent < 2_000_000


@pytest.mark.parametrize(
    "sent", [b"hello\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET x y z\r\n\r\n"]
)
def test_what_is_no_http_is_answered_by_a_problem(client: httpx.Client, sent: bytes) -> None:
    with connect(client) as connection:
        connection.sendall(sent)
        (found,) = replies(connection)
    found.problem(400, "malformed-request")


def test_what_came_whole_is_answered_before_the_connection_is_closed(client: httpx.Client) -> None:
    with connect(client) as connection:
        connection.sendall(score_request(500) + score_request(2) + b"nonsense\r\n\r\n")
        found = replies(connection)
    assert [answer.status for answer in found[:2]] == [200, 200]
    assert found[0].body.count(b'"score"') == 500
    assert found[1].body.count(b'"score"') == 2
    with connect(client) as connection:
        connection.sendall(score_request(500) + score_request(2, length=100_000))
        found = replies(connection)
    assert [answer.status for answer in found] == [200, 408]


def test_a_body_that_is_too_large_is_told_so_although_the_client_goes_on_sending(
    client: httpx.Client,
) -> None:
    with connect(client) as connection:
        connection.sendall(score_request(length=9_000_000).partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        for _ in range(9):
            connection.sendall(b" " * 1_000_000)
        connection.sendall(get("/healthz"))
        refused, health = replies(connection, 2)
    refused.problem(413, "body-too-large")
    assert health.status == 200


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nX-Long: ", get("/healthz")])
def test_whoever_kept_us_waiting_longest_makes_room_for_whoever_comes(
    client: httpx.Client, sent: bytes
) -> None:
    time.sleep(3 * PATIENCE)  # connections of other tests are closed
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(connect(client)) for _ in range(CONNECTIONS)]
        for connection in held:
            connection.sendall(sent)
            if sent == get("/healthz"):
                assert reply(connection).status == 200
        time.sleep(0.05)
        for request in (get("/healthz"), score_request()):
            with connect(client) as late:
                late.sendall(request)
                assert reply(late).status == 200
        assert closed(held[0]) or held[0].recv(1000)
    assert connections_refused(client, "too-many-connections") > 0


def test_a_flood_of_half_open_connections_pushes_out_its_own_and_no_request(client: httpx.Client) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            flood = [stack.enter_context(connect(client)) for _ in range(2 * CONNECTIONS)]
            for connection in flood:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(b"GET /score HTTP/1.1\r\nX: ")
            with connect(client) as honest:
                honest.sendall(score_request())
                assert reply(honest).status == 200


def test_health_is_answered_while_all_connections_are_at_work_and_nothing_else(
    tmp_path: Path, payments: Bundle
) -> None:
    settings = Settings(home=home_with(tmp_path, payments), max_connections=CONNECTIONS)
    with serving(create_app(settings)) as client, contextlib.ExitStack() as stack:
        job = client.post("/jobs").json()["job_id"]
        watchers = []
        for _ in range(CONNECTIONS):
            watchers.append(watcher := stack.enter_context(connect(client)))
            watcher.sendall(get(f"/jobs/{job}/events"))
            with watcher.makefile("rb") as lines:
                assert any(line.startswith(b"event: job") for line in lines)
        time.sleep(0.05)
        with connect(client) as health:
            for path in ("/healthz", "/readyz"):
                health.sendall(get(path))
                assert reply(health).status == 200
        with connect(client) as late:
            late.sendall(score_request())
            (refused,) = replies(late)
        assert "8 connections" in refused.problem(429, "too-many-connections")["detail"]
        assert refused.headers["retry-after"] == "1"
        watchers.pop().close()

        def scored() -> int:
            with connect(client) as later:
                later.sendall(score_request())
                return reply(later).status

        until(lambda: scored() == 200)  # the stream has found out


def test_a_client_that_goes_away_is_not_scored_and_harms_no_neighbour(client: httpx.Client) -> None:
    before = rows_scored(client)
    with connect(client) as neighbour, connect(client) as first:
        first.sendall(score_request(10_000))
        gone = [connect(client) for _ in range(3)]
        for connection in gone:
            connection.sendall(score_request(6_000))
        neighbour.sendall(score_request(3))
        for connection in gone:
            connection.close()
        assert reply(neighbour).body.count(b'"score"') == 3
        assert reply(first).body.count(b'"score"') == 10_000
    assert 10_003 <= rows_scored(client) - before < 10_003 + 18_000
    assert failures(client) == []

"""More than can be scored: what is refused costs next to nothing, and nobody else pays for it."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
from uvicorn.protocols.http.flow_control import FlowControl

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.access.keyring import create
from nearnorm.service.app import Application, create_app
from nearnorm.service.http.connection.backpressure import HELD_SECONDS, Backpressure
from nearnorm.service.ledger.seen_lines import EVERY_LINE
from nearnorm.service.settings import Settings
from tests.service.running import home_with, serving

BODY = {"records": [{"amount": 61.5, "channel": "web"}]}


class Wire(asyncio.Transport):
    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def is_closing(self) -> bool:
        return False


class Client:
    """A connection as far as it is held back."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.transport: asyncio.Transport = Wire()
        self.flow = FlowControl(self.transport)


@pytest.fixture
def app(tmp_path: Path, bundle: Bundle) -> Application:
    return create_app(Settings(home=home_with(tmp_path / "home", bundle)))


@contextmanager
def full(app: Application) -> Iterator[None]:
    """The queue, as rows that wait leave it."""
    batcher = app.state.registry.first(EVERY_LINE).batcher
    batcher.rows += batcher.limit
    batcher.overflown = True
    try:
        yield
    finally:
        batcher.rows -= batcher.limit


def refused(answer: httpx.Response) -> None:
    assert answer.status_code == 429
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["type"].endswith("overloaded")


def test_what_is_refused_is_not_read_and_its_connection_serves_on(app: Application) -> None:
    with serving(app) as client:
        assert client.post("/score", json=BODY).status_code == 200
        with full(app):
            refused(client.post("/score", json=BODY))
            refused(client.post("/score?model=default", content=b"no JSON at all"))
            refused(client.post("/score", content=b"x" * 1_000_000))
            assert client.get("/healthz").status_code == 200
            assert client.get("/scores").status_code == 404
        assert client.post("/score", json=BODY).status_code == 200
        told = client.get("/metrics").text
    assert 'nearnorm_requests_total{method="POST",route="/score",status="429"} 3.0' in told


def test_a_first_request_and_one_that_closes_its_connection_are_refused_alike(app: Application) -> None:
    with serving(app) as client, full(app):
        refused(client.post("/score", json=BODY))
        with httpx.Client(
            base_url=client.base_url, headers={"Content-Type": "application/json"}, timeout=60
        ) as fresh:
            refused(fresh.post("/score", content=b"no JSON at all"))
            closing = fresh.post("/score", content=b"no JSON at all", headers={"Connection": "close"})
            refused(closing)
            assert closing.headers["connection"] == "close"
            told = client.get("/metrics").text
    assert 'nearnorm_requests_total{method="POST",route="/score",status="429"} 3.0' in told


def test_the_queue_takes_requests_again_once_a_batch_has_room(app: Application) -> None:
    with serving(app) as client:
        batcher = app.state.registry.first(EVERY_LINE).batcher
        with full(app):
            refused(client.post("/score", json=BODY))
            assert batcher.is_full
            batcher.rows -= 1
            refused(client.post("/score", json=BODY))
            batcher.rows -= 2_000
            assert client.post("/score", json=BODY).status_code == 200
            batcher.rows += 2_001
        assert not batcher.is_full


def test_a_large_request_shuts_the_queue_before_the_next_one_is_decoded(app: Application) -> None:
    with serving(app) as client:
        batcher = app.state.registry.first(EVERY_LINE).batcher
        batcher.rows += batcher.limit - 500
        assert client.post("/score", json={"records": BODY["records"] * 500}).status_code == 200
        batcher.rows += 500
        refused(client.post("/score", content=b"no JSON at all"))
        batcher.rows -= batcher.limit


def test_the_room_is_counted_in_requests_as_large_as_those_that_wait(app: Application) -> None:
    with serving(app) as client:
        assert client.post("/score", json=BODY).status_code == 200
        batcher, room = app.state.registry.first(EVERY_LINE).batcher, partial(app.score.capacity, None)
        assert room() == batcher.limit
        batcher.rows += batcher.limit // 2
        assert room() == 1
        batcher.rows += batcher.limit // 4
        assert room() == 1, "a smaller one than the one that runs may fit"
        batcher.rows -= batcher.limit // 2 + batcher.limit // 4
        with full(app):
            assert room() == 0


def test_at_one_look_no_more_are_let_in_again_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nearnorm.service.http.connection.backpressure.time.process_time", lambda: 100.0)
    with closing(asyncio.new_event_loop()) as loop:
        backpressure, clients = Backpressure(lambda _: 3), [Client(loop) for _ in range(10)]
        for client in clients:
            backpressure.refused(client, 10**15)
        left = []
        for _ in range(4):  # one first, twice as many each time, and never more than three
            backpressure._look(loop)
            left.append(sum(client.flow.read_paused for client in clients))
        assert left == [9, 7, 4, 1]


def test_who_was_refused_by_a_line_waits_for_room_in_that_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nearnorm.service.http.connection.backpressure.time.process_time", lambda: 100.0)
    room = {"full": 0, "free": 9}
    with closing(asyncio.new_event_loop()) as loop:
        backpressure = Backpressure(lambda line: room[str(line)])
        waiting, first, second = (Client(loop) for _ in range(3))
        backpressure.refused(waiting, 10**15, "full")
        backpressure.refused(first, 10**15, "free")
        backpressure.refused(second, 10**15, "free")
        for _ in range(3):
            backpressure._look(loop)
        assert [client.flow.read_paused for client in (waiting, first, second)] == [True, False, False]
        room["full"] = 1
        backpressure._look(loop)
        assert not waiting.flow.read_paused


def test_a_size_that_is_a_lie_costs_others_no_more_than_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = [100.0]
    monkeypatch.setattr("nearnorm.service.http.connection.backpressure.time.process_time", lambda: cpu[0])
    with closing(asyncio.new_event_loop()) as loop:
        backpressure, liar, honest = Backpressure(lambda _: 0), Client(loop), Client(loop)
        backpressure.refused(liar, 10**15)
        assert liar.flow.read_paused
        cpu[0] += 1.1
        backpressure.refused(honest, 0)
        assert not honest.flow.read_paused


@pytest.fixture
def spent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time for refusals, used up for as long as a test takes."""
    monkeypatch.setattr("nearnorm.service.http.connection.backpressure.SHARE", 1e-9)


def held_for(monkeypatch: pytest.MonkeyPatch, seconds: float) -> float:
    """As long as a test can tell from a pause of a busy machine."""
    monkeypatch.setattr("nearnorm.service.http.connection.backpressure.HELD_SECONDS", seconds)
    return seconds


@pytest.mark.usefixtures("spent")
def test_who_was_refused_is_not_read_for_a_while_and_nobody_else_waits(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert HELD_SECONDS == 1.0
    seconds = held_for(monkeypatch, 4.0)
    with (
        serving(app) as client,
        httpx.Client(base_url=client.base_url, timeout=30) as other,
        ThreadPoolExecutor(1) as elsewhere,
    ):
        assert client.post("/score", json=BODY).status_code == 200
        assert other.post("/score", json=BODY).status_code == 200
        with full(app):
            begun = time.monotonic()
            refused(client.post("/score", json=BODY))
            held = elsewhere.submit(client.post, "/score", content=b"x" * 3_000_000)
            assert other.get("/healthz").status_code == 200
            assert not held.done()
            refused(held.result())
            assert time.monotonic() - begun >= seconds


@pytest.mark.usefixtures("spent")
def test_who_was_refused_is_read_as_soon_as_there_is_room(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_for(monkeypatch, 600.0)  # no client waits so long
    with serving(app) as client:
        assert client.post("/score", json=BODY).status_code == 200
        with full(app):
            refused(client.post("/score", json=BODY))
        assert client.post("/score", json=BODY).status_code == 200


@pytest.mark.usefixtures("spent")
def test_a_request_that_waits_to_be_read_is_answered_when_the_service_stops(app: Application) -> None:
    content = json.dumps(BODY).encode()
    head = b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += b"Content-Length: %d\r\n\r\n"
    with ExitStack() as after:
        with serving(app) as client:
            address = (client.base_url.host, client.base_url.port or 0)
            held = after.enter_context(socket.create_connection(address, timeout=30))
            for status in (b"200", b"429"):
                held.sendall(head % len(content) + content)
                assert held.recv(4096).split()[1] == status
                batcher = app.state.registry.first(EVERY_LINE).batcher
                batcher.rows, batcher.overflown = batcher.limit, True
            held.sendall(head % len(content) + content)
        assert held.recv(4096).split()[1] == b"429"


def test_a_flood_of_one_key_makes_no_refusals_for_another(tmp_path: Path, bundle: Bundle) -> None:
    """Rows that wait are the flood's: it is refused unread, the other one is scored."""
    app = create_app(Settings(home=home_with(tmp_path / "home", bundle)))
    with serving(app) as client:
        services = app.state.services
        with services.ledger.write() as connection:
            secrets = {name: create(connection, name, ["score"], "test")[0] for name in ("flood", "other")}
        with services.ledger.read() as connection:
            services.keyring.refresh(connection)

        def send(name: str) -> httpx.Response:
            return client.post("/score", json=BODY, headers={"X-API-Key": secrets[name]})

        assert send("other").status_code == 200
        batcher = app.state.registry.first(EVERY_LINE).batcher
        with full(app):
            batcher._held["flood"] = batcher.limit
            for _ in range(3):
                refused(send("flood"))
                assert send("other").status_code == 200
            del batcher._held["flood"]

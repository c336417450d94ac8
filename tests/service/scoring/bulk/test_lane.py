"""The bulk process: which bodies go there, who waits for whom, and what happens when it dies."""

import asyncio
import json
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.app import Application, create_app
from nearnorm.service.background import Background
from nearnorm.service.errors import Overloaded
from nearnorm.service.scoring.bulk import lane as lanes
from nearnorm.service.scoring.bulk.lane import MOST_REQUESTS, BulkLane
from nearnorm.service.scoring.bulk.messages import ReadBody, Written
from nearnorm.service.scoring.long_bodies import (
    INLINE_BYTES,
    INLINE_LOOSE_BYTES,
    INLINE_LOOSE_ROWS,
    INLINE_ROWS,
)
from nearnorm.service.settings import Settings
from tests.contract.wire import connect, score_request
from tests.service.api.test_health import value
from tests.service.process.test_server import process
from tests.service.running import home_with, serving
from tests.service.scoring.test_bulk import post, stream
from tests.service.scoring.test_endpoint import RECORD, problem
from tests.service.waiting import until

PADDING = "transaction id"  # a field that is sent and not scored
LONG = {"records": [RECORD | {"amount": "1", PADDING: "x" * INLINE_LOOSE_BYTES}]}


@pytest.fixture
def app(tmp_path: Path, bundle: Bundle) -> Application:
    return create_app(Settings(home=home_with(tmp_path / "home", bundle)))


@pytest.fixture
def fresh(app: Application) -> Iterator[httpx.Client]:
    with serving(app) as client:
        yield client


def sent(client: httpx.Client, **request: Any) -> httpx.Response:
    return client.post("/score", content=json.dumps(request), headers={"Content-Type": "application/json"})


def pid(app: Application) -> int | None:
    return app.score.lane.pid


@pytest.mark.parametrize(
    ("request_", "beside"),
    [
        ({"records": [RECORD | {PADDING: "x" * INLINE_LOOSE_BYTES}]}, False),
        ({"records": [RECORD | {PADDING: "x" * INLINE_BYTES}]}, True),
        ({"records": [RECORD | {"amount": "1"}]}, False),
        (LONG, True),
        ({"columns": {"amount": [1.0] * INLINE_ROWS, "channel": ["web"] * INLINE_ROWS}}, False),
        ({"columns": {"amount": [1.0] * (INLINE_ROWS + 1), "channel": ["web"] * (INLINE_ROWS + 1)}}, True),
        ({"records": [{"channel": "web"}] * (INLINE_ROWS + 1)}, True),
        ({"records": [7] * INLINE_LOOSE_ROWS}, False),
        ({"records": [7] * (INLINE_LOOSE_ROWS + 1)}, True),
    ],
)
def test_the_process_is_started_with_the_first_body_that_takes_long(
    app: Application, fresh: httpx.Client, request_: dict[str, Any], beside: bool
) -> None:
    for _ in range(2):
        assert sent(fresh, **request_).status_code == 200
    assert (pid(app) is not None) == beside


@pytest.mark.parametrize(("rows", "beside"), [(1_000, False), (10_000, True)])
def test_a_long_stream_is_read_there_too(
    app: Application, fresh: httpx.Client, rows: int, beside: bool
) -> None:
    table = pa.table({name: [value] * rows for name, value in RECORD.items()})
    assert post(fresh, stream(table, rows)).status_code == 200
    assert (pid(app) is not None) == beside


def test_a_process_that_was_killed_is_started_again_and_told(
    app: Application, fresh: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, do = threading.Event(), lanes._Process.do

    def noted(process: Any, waiting: Any) -> Any:
        given.set()
        return do(process, waiting)

    assert sent(fresh, **LONG).status_code == 200
    first = pid(app)
    assert first is not None
    os.kill(first, signal.SIGSTOP)  # it gets the next body, and dies of it
    monkeypatch.setattr(lanes._Process, "do", noted)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(sent, fresh, **LONG)
        assert given.wait(60)
        os.kill(first, signal.SIGKILL)
        problem(answer.result(), 500, "internal-error")
    task = {"task": lanes.TASK}
    assert value(fresh, "nearnorm_background_failures_total", **task) == 1
    assert any(lanes.TASK in found for found in fresh.get("/readyz").json()["problems"])
    assert sent(fresh, **LONG).status_code == 200
    assert pid(app) not in (None, first)
    assert fresh.get("/readyz").json()["problems"] == []


def test_a_process_that_died_while_nobody_needed_it_costs_no_request(
    app: Application, fresh: httpx.Client
) -> None:
    assert sent(fresh, **LONG).status_code == 200
    first = pid(app)
    assert first is not None
    os.kill(first, signal.SIGKILL)
    until(lambda: not _lives(str(first)))
    assert sent(fresh, **LONG).status_code == 200
    assert pid(app) not in (None, first)


def test_a_process_that_hangs_is_ended(app: Application, fresh: httpx.Client) -> None:
    """By the timeout of its socket, which is short for this one alone: to start takes longer."""
    assert sent(fresh, **LONG).status_code == 200
    assert app.score.lane._process is not None
    connection = app.score.lane._process._socket
    assert connection.gettimeout() == lanes.PATIENCE
    connection.settimeout(1.0)
    first = pid(app)
    assert first is not None
    os.kill(first, signal.SIGSTOP)
    problem(sent(fresh, **LONG), 500, "internal-error")
    assert sent(fresh, records=[RECORD]).status_code == 200
    assert sent(fresh, **LONG).status_code == 200
    assert pid(app) not in (None, first)


def test_a_version_that_was_swapped_in_reads_the_next_body(
    app: Application, fresh: httpx.Client, other_bundle: Bundle
) -> None:
    before = sent(fresh, **LONG).json()["model"]["version"]
    version = app.state.registry.store.publish(other_bundle.path)
    fresh.post(f"/models/{version}/activate").raise_for_status()
    assert [before, sent(fresh, **LONG).json()["model"]["version"]] == [
        app.state.registry.store.previous("default"),
        version,
    ]


def test_it_ends_with_the_service_however_that_ends(tmp_path: Path, bundle: Bundle) -> None:
    for ending in (signal.SIGTERM, signal.SIGKILL):
        home = home_with(tmp_path / ending.name, bundle)
        with process(home, NEARNORM_WORKER="off") as (service, url):
            httpx.post(f"{url}/score", json=LONG, timeout=60).raise_for_status()
            (child,) = Path(
                f"/proc/{service.pid}/task/{service.pid}/children"
            ).read_text().split() or _children(service.pid)
            assert "bulk" in Path(f"/proc/{child}/cmdline").read_text()
            service.send_signal(ending)
            service.wait()
            until(lambda child=child: not _lives(child))  # type: ignore[misc]


def _children(parent: int) -> list[str]:
    """Those that any of its threads started."""
    tasks = Path(f"/proc/{parent}/task").glob("*/children")
    return [child for task in tasks for child in task.read_text().split()]


def _lives(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_no_more_than_a_few_requests_wait_and_nobody_elses(app: Application, fresh: httpx.Client) -> None:
    assert sent(fresh, **LONG).status_code == 200
    stopped = pid(app)
    assert stopped is not None
    os.kill(stopped, signal.SIGSTOP)
    with ThreadPoolExecutor(2 * MOST_REQUESTS) as pool:
        answers = [pool.submit(sent, fresh, **LONG) for _ in range(MOST_REQUESTS + 3)]
        until(lambda: sum(answer.done() for answer in answers) == 3)
        assert sent(fresh, records=[RECORD]).status_code == 200
        refused = [answer.result() for answer in answers if answer.done()]
        os.kill(stopped, signal.SIGCONT)
        statuses = sorted(answer.result().status_code for answer in answers)
    assert statuses == [200] * MOST_REQUESTS + [429] * 3
    problem(refused[0], 429, "overloaded")


def test_a_client_who_hangs_up_while_his_request_is_read_harms_nobody(
    app: Application, fresh: httpx.Client
) -> None:
    long = score_request(rows=2_000, strict=True, explain=False)
    loose = long.replace(b'"amount": 61.5', b'"amount": "1" ')
    for _ in range(2 * MOST_REQUESTS):
        with connect(fresh) as connection:
            connection.sendall(loose)
    until(lambda: sent(fresh, **LONG).status_code == 200)


def job(name: str) -> ReadBody:
    return ReadBody(None, name, None, {}, {})


class _Asked:
    """A lane whose process takes a job only when it is told to, and what it was given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.go_on = threading.Semaphore(0)
        self.lane = BulkLane(Background())

        def converse(_: BulkLane, waiting: Any) -> Any:
            assert self.go_on.acquire(timeout=20)
            self.done.append(waiting.job.first)
            return Written(), []

        monkeypatch.setattr(BulkLane, "_converse", converse)


def test_callers_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _Asked(monkeypatch)

    async def scenario() -> None:
        flood = [asyncio.ensure_future(asked.lane.ask("flood", job(f"flood {i}"), [])) for i in range(5)]
        other = [asyncio.ensure_future(asked.lane.ask("other", job(f"other {i}"), [])) for i in range(2)]
        await asyncio.sleep(0)
        asked.go_on.release(7)
        await asyncio.gather(*flood, *other)

    asyncio.run(scenario())
    assert asked.done == ["flood 0", "flood 1", "other 0", "flood 2", "other 1", "flood 3", "flood 4"]


def test_a_lone_caller_has_all_places_and_gives_some_up_when_another_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = _Asked(monkeypatch)

    async def ask(caller: str, number: int) -> None:
        with asked.lane.place(caller):
            await asked.lane.ask(caller, job(f"{caller} {number}"), [])

    async def scenario() -> list[BaseException | None]:
        flood = [asyncio.ensure_future(ask("flood", i)) for i in range(MOST_REQUESTS + 1)]
        await asyncio.sleep(0)
        others = [asyncio.ensure_future(ask("other", i)) for i in range(MOST_REQUESTS // 2 + 1)]
        await asyncio.sleep(0)
        asked.go_on.release(3 * MOST_REQUESTS)
        return await asyncio.gather(*flood, *others, return_exceptions=True)

    found = asyncio.run(scenario())
    flood, others = found[: MOST_REQUESTS + 1], found[MOST_REQUESTS + 1 :]
    assert isinstance(flood[-1], Overloaded)  # he had all places, and no more
    assert others[:-1] == [None] * (MOST_REQUESTS // 2)  # an even part is the other's, whenever he comes
    assert isinstance(others[-1], Overloaded)
    assert flood[: MOST_REQUESTS // 2] == [None] * (MOST_REQUESTS // 2)
    assert len(asked.done) <= MOST_REQUESTS + 1


def test_many_newcomers_at_once_take_no_more_than_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _Asked(monkeypatch)

    async def ask(caller: str) -> None:
        with asked.lane.place(caller):
            await asked.lane.ask(caller, job(caller), [])

    async def scenario() -> list[BaseException | None]:
        flood = [asyncio.ensure_future(ask("flood")) for _ in range(MOST_REQUESTS)]
        await asyncio.sleep(0)
        others = [asyncio.ensure_future(ask(f"other {i}")) for i in range(MOST_REQUESTS)]
        await asyncio.sleep(0)
        asked.go_on.release(3 * MOST_REQUESTS)
        return await asyncio.gather(*flood, *others, return_exceptions=True)

    found = asyncio.run(scenario())
    assert found[0] is None  # what was begun is ended
    assert found[MOST_REQUESTS:] == [None] * MOST_REQUESTS


def test_places_are_given_back_whatever_happens() -> None:
    lane = BulkLane(Background())
    for _ in range(3):
        with ExitStack() as stack:
            for _ in range(MOST_REQUESTS):
                stack.enter_context(lane.place("one"))
            with pytest.raises(Overloaded):
                stack.enter_context(lane.place("one"))

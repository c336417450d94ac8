"""Lanes: while one line floods, another's requests are read at once; each line's own stay in order."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.access.keyring import Caller
from nearnorm.service.app import Application, create_app
from nearnorm.service.errors import Overloaded
from nearnorm.service.ledger.seen_lines import EVERY_LINE, SeenLines
from nearnorm.service.records.encoded import Rows
from nearnorm.service.scoring.named_line import line_in
from nearnorm.service.serving import lanes
from nearnorm.service.serving.batcher import Batcher, Limits, Step
from nearnorm.service.serving.lanes import Lanes
from nearnorm.service.settings import Settings
from tests.service.asking import RECORD
from tests.service.interfaces.test_open_inference import tensors
from tests.service.running import home_with, serving

OTHER = "payments-fr"
Put = tuple[str, int]
"""A line, and which of its requests."""


@pytest.fixture(autouse=True)
def one_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast the machine is: a slice holds one request."""
    monkeypatch.setattr(lanes, "SLICE", 0.0)


async def read_by_turn(arrivals: Sequence[Sequence[str]]) -> list[list[Put]]:
    """What is read in each turn of the loop, where so many requests of lines arrive in each."""
    shared, turns = Lanes(), list[list[Put]]()
    numbers: dict[str, int] = defaultdict(int)
    waiting = sum(map(len, arrivals))
    for number in range(10_000):
        turns.append([])
        for line in arrivals[number] if number < len(arrivals) else ():
            put = (line, numbers[line])
            numbers[line] += 1
            shared.put(line, lambda put=put: turns[-1].append(put))  # type: ignore[misc]
        await asyncio.sleep(0)
        if sum(map(len, turns)) == waiting:
            return turns
    raise AssertionError("something was never read")


def test_a_request_beside_another_lines_flood_is_read_in_the_turn_in_which_it_comes() -> None:
    turns = asyncio.run(read_by_turn([["flood"] * 50, [], [], ["calm"], [], ["calm"]]))
    assert [("calm", 0) in turn for turn in turns[:6]] == [False, False, False, True, False, False]
    assert ("calm", 1) in turns[5]
    assert len(turns) > 40  # the flood goes on meanwhile, a request in each turn


async def steps_by_turn(steps: int, comes: Callable[[int], bool]) -> list[int]:
    """How many long steps each turn of the loop has, where a short request `comes` in some of the turns."""
    shared, turns = Lanes(), list[int]()

    def step() -> None:
        turns[-1] += 1

    for _ in range(steps):
        shared.put("flood", step, long=True)
    while sum(turns) < steps:
        turns.append(0)
        if comes(len(turns) - 1):
            shared.put("calm", lambda: None)
        await asyncio.sleep(0)
    return turns


def test_a_turn_has_one_long_step_however_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asyncio.run(steps_by_turn(5, lambda turn: False)) == [1, 1, 1, 1, 1]
    monkeypatch.setattr(lanes, "SLICE", 0.01)
    assert asyncio.run(steps_by_turn(5, lambda turn: False)) == [1, 1, 1, 1, 1]


def test_a_short_request_that_was_read_is_scored_before_the_next_long_step() -> None:
    assert asyncio.run(steps_by_turn(3, lambda turn: turn == 2)) == [1, 1, 0, 0, 1]


def test_long_steps_go_on_beside_short_requests_without_end() -> None:
    turns = asyncio.run(steps_by_turn(3, lambda turn: True))
    assert len(turns) <= 1 + 3 * (lanes.MOST_GRACE + 1)


def test_a_long_step_waits_for_nothing_where_there_are_no_lanes() -> None:
    done: list[int] = []
    Lanes().step("default", lambda: done.append(1))
    assert done == [1]


def test_what_a_large_batch_makes_of_its_answers_are_two_steps() -> None:
    async def scenario() -> list[str]:
        waiting: deque[Step] = deque()
        ran: list[str] = []

        def split(items: Sequence[Rows], _: int) -> list[int]:
            ran.append("judged")
            return list(map(len, items))

        with ThreadPoolExecutor(1) as executor:
            limits = Limits(1024, 512, 20_000, 10.0, 1)
            batcher = Batcher[Rows, int, int](
                lambda items: 0, split, limits, executor, lambda _: None, waiting.append
            )
            width = np.zeros((1_000, 1))
            batcher.put(Rows(width, width.astype(np.int64)), lambda outcome: ran.append("answered"))
            for done in (["judged"], ["judged", "answered"]):
                while not waiting:
                    await asyncio.sleep(0.001)
                waiting.popleft()()
                assert ran == done
        return ran

    assert asyncio.run(scenario()) == ["judged", "answered"]


@example_settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=8), max_size=12))
def test_each_line_keeps_its_order_and_its_next_request_waits_for_one_of_each_other_at_most(
    arrivals: list[list[str]],
) -> None:
    turns = asyncio.run(read_by_turn(arrivals))
    for line in "abcd":
        came = [number for number, turn in enumerate(arrivals) for of in turn if of == line]
        done = [(number, n) for number, turn in enumerate(turns) for of, n in turn if of == line]
        assert [n for _, n in done] == list(range(len(came)))
        for n, (read, _) in enumerate(done):
            next_since = max(came[n], done[n - 1][0]) if n else came[n]
            assert read - next_since <= 4, (line, n, turns)


def test_the_line_that_a_body_seems_to_name_is_found_before_it_is_read() -> None:
    assert line_in(b'{"model": "payments-fr", "records": []}') == "payments-fr"
    assert line_in(b'{"records": [], "model":"a"}') == "a"
    assert line_in(b'{"records": [' + b"{}," * 1_000 + b'{}], "model":"a"}') == "a"
    assert line_in(b'{"records": []}') is None
    assert line_in(b'{"model": 7}') is None


@pytest.fixture
def app(tmp_path: Path, payments: Bundle, other_bundle: Bundle) -> Application:
    home = home_with(tmp_path / "home", payments)
    store = ModelStore(home / "models")
    store.activate(store.publish(other_bundle.path), by="test", model=OTHER)
    return create_app(Settings(home=home))


def test_where_one_line_is_asked_there_are_no_lanes(app: Application) -> None:
    with serving(app) as client:
        for _ in range(3):
            assert client.post("/score", json={"records": [RECORD]}).status_code == 200
        assert not app.score.steps.lanes.shared
        assert client.post("/score", json={"model": OTHER, "records": [RECORD]}).status_code == 200
        assert app.score.steps.lanes.shared


def test_whatever_way_a_request_comes_it_is_answered_by_its_own_line_in_its_turn(app: Application) -> None:
    table = pa.table({name: [value] for name, value in RECORD.items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    arrow = sink.getvalue().to_pybytes()
    with serving(app) as client:
        versions: dict[str, str] = {}
        for line in ("default", OTHER, "default", OTHER):
            model = client.post("/score", json={"model": line, "records": [RECORD]}).json()["model"]
            assert model["name"] == line
            versions[line] = model["version"]
        for line in ("default", OTHER):
            sent = [(b"{}\n", "application/x-ndjson"), (arrow, "application/vnd.apache.arrow.stream")]
            told = [
                client.post("/score", params={"model": line}, content=body, headers={"Content-Type": kind})
                for body, kind in sent
            ]
            assert [answer.status_code for answer in told] == [200, 200], told
            assert told[0].headers["nearnorm-model-version"] == versions[line]
            inferred = client.post(f"/v2/models/{line}/infer", json={"inputs": tensors(RECORD)})
            assert inferred.json()["model_version"] == versions[line], inferred.text
        assert app.score.steps.lanes.shared


def test_what_names_a_line_with_a_full_queue_is_refused_unread_and_other_lines_serve_on(
    app: Application,
) -> None:
    json_, lines_ = "application/json", "application/x-ndjson"
    with serving(app) as client:

        def post(content: bytes, kind: str = json_, path: str = "/score") -> int:
            return client.post(path, content=content, headers={"Content-Type": kind}).status_code

        for line in ("default", OTHER):
            assert client.post("/score", json={"model": line, "records": [RECORD]}).status_code == 200
        batcher = app.state.registry.get(OTHER, EVERY_LINE).batcher
        batcher.rows += batcher.limit
        batcher.overflown = True
        for shared in (False, True):
            app.score.steps.lanes.shared = shared
            assert post(b'{"model": "payments-fr", no JSON at all') == 429
            assert post(b'{"model": "payments-fr", no JSON' + b" " * 300_000) == 429  # not the plain way
            assert post(b"no lines at all", lines_, f"/score?model={OTHER}") == 429
            assert post(b"no JSON at all", json_, f"/v2/models/{OTHER}/infer") == 429
            assert client.post("/score", json={"records": [RECORD]}).status_code == 200
        batcher.rows -= batcher.limit
        assert client.post("/score", json={"model": OTHER, "records": [RECORD]}).status_code == 200


def test_who_is_bound_to_a_line_and_names_none_takes_that_lines_turn(app: Application) -> None:
    with serving(app):
        line_of = app.score.steps.line_of
        bound = SeenLines.of(["payments-*"])
        assert [line_of(named, bound) for named in (None, OTHER, "default", "nope")] == [OTHER] * 4
        assert [line_of(named, EVERY_LINE) for named in (None, OTHER, "nope")] == [
            "default",
            OTHER,
            "default",
        ]


def test_a_full_queue_of_a_line_refuses_nobody_who_does_not_see_that_line(app: Application) -> None:
    with serving(app):
        steps, batcher = app.score.steps, app.state.registry.get("default", EVERY_LINE).batcher
        batcher.rows += batcher.limit
        batcher.overflown = True
        bound = Caller("ann", frozenset({"score"}), lines=SeenLines.of(["elsewhere-*"]))
        steps.check_room_in(steps.line_of(None, bound.lines), bound)
        with pytest.raises(Overloaded):
            steps.check_room_in("default", Caller("bo", frozenset({"score"})))
        batcher.rows -= batcher.limit

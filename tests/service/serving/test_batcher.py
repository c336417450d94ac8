"""Batches without a timer: who is taken when, and what everyone is told."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import pytest

from nearnorm.service.errors import DeadlineExceeded, InternalError, Overloaded
from nearnorm.service.serving.batcher import Batcher, Limits


class Rows(list[int]):
    def part(self, start: int, stop: int) -> "Rows":
        return Rows(self[start:stop])


Doubling = Batcher[Rows, list[int], list[int]]


class Machine:
    """Doubles numbers and remembers the batches; in the executor it waits for `go`."""

    def __init__(self) -> None:
        self.batches: list[list[list[int]]] = []
        self.go = threading.Event()
        self.go.set()
        self.failure: Exception | None = None

    def run(self, items: Sequence[Rows]) -> list[int]:
        assert self.go.wait(60)
        self.batches.append([list(item) for item in items])
        if self.failure:
            raise self.failure
        return [2 * v for item in items for v in item]

    def split(self, items: Sequence[Rows], ran: list[int]) -> list[list[int]]:
        assert threading.current_thread() is threading.main_thread()  # where the event loop is
        rest = iter(ran)
        return [list(islice(rest, len(item))) for item in items]


def with_batcher(
    scenario: Callable[[Doubling, Machine], Any],
    *,
    batch: int = 4,
    inline: int = 4,
    queue: int = 100,
    deadline: float = 10.0,
    beside: int = 1,
    kind: type[Machine] = Machine,
) -> None:
    async def main() -> None:
        with ThreadPoolExecutor(beside) as executor:
            machine = kind()
            limits = Limits(batch, inline, queue, deadline, beside)
            batcher = Doubling(machine.run, machine.split, limits, executor, lambda waits: None)
            try:
                await scenario(batcher, machine)
            finally:
                machine.go.set()
            assert batcher.rows == 0

    asyncio.run(asyncio.wait_for(main(), 120))


def test_what_arrives_in_one_turn_is_one_batch() -> None:
    async def scenario(batcher: Doubling, machine: Machine) -> None:
        answers = await asyncio.gather(*(batcher.submit(Rows([i])) for i in range(3)))
        assert answers == [[[0]], [[2]], [[4]]]
        assert machine.batches == [[[0], [1], [2]]]

    with_batcher(scenario)


def test_a_batch_is_never_larger_than_its_limit() -> None:
    async def scenario(batcher: Doubling, machine: Machine) -> None:
        await asyncio.gather(*(batcher.submit(Rows([i, i])) for i in range(7)))
        assert [sum(map(len, batch)) for batch in machine.batches] == [4, 4, 4, 2]

    with_batcher(scenario)


def test_a_request_that_fits_a_batch_is_not_split() -> None:
    async def scenario(batcher: Doubling, machine: Machine) -> None:
        await asyncio.gather(*(batcher.submit(Rows([i] * 3)) for i in range(3)))
        assert machine.batches == [[[i] * 3] for i in range(3)]

    with_batcher(scenario)


def test_a_large_request_is_split_and_its_parts_come_back_in_order() -> None:
    async def scenario(batcher: Doubling, machine: Machine) -> None:
        parts = await batcher.submit(Rows(range(10)))
        assert [v for part in parts for v in part] == [2 * v for v in range(10)]
        assert len(machine.batches) == 3

    with_batcher(scenario)


def test_a_small_request_does_not_wait_for_a_large_one_to_end() -> None:
    async def scenario(batcher: Doubling, machine: Machine) -> None:
        order: list[str] = []

        async def send(name: str, rows: Rows) -> None:
            await batcher.submit(rows)
            order.append(name)

        await asyncio.gather(send("large", Rows(range(40))), send("small", Rows([1])))
        assert order == ["small", "large"]
        assert [1] in machine.batches[1]

    with_batcher(scenario)


def test_a_large_request_does_not_starve_under_small_ones() -> None:
    async def scenario(batcher: Doubling, machine: Machine) -> None:
        large = batcher.submit(Rows(range(8)))
        small = 0
        while not large.done():
            await asyncio.gather(*(batcher.submit(Rows([0])) for _ in range(6)))
            small += 6
            assert small < 100
        assert len(await large) >= 2

    with_batcher(scenario)


def test_large_batches_run_beside_the_event_loop() -> None:
    async def scenario(batcher: Doubling, machine: Machine) -> None:
        machine.go.clear()
        pending = batcher.submit(Rows(range(4)))
        for _ in range(5):
            await asyncio.sleep(0.001)  # the loop goes on
        assert not pending.done()
        machine.go.set()
        assert await pending == [[0, 2, 4, 6]]

    with_batcher(scenario, inline=3)


def test_small_requests_stay_in_the_loop_s_own_thread_and_a_large_one_behind_them_runs_beside() -> None:
    async def scenario(batcher: Doubling, machine: Machine) -> None:
        sent = [batcher.submit(Rows(range(n))) for n in (1, 1, 1, 5, 1)]
        await asyncio.gather(*sent)
        assert [[len(item) for item in batch] for batch in machine.batches] == [[1, 1], [1], [5, 1]]

    with_batcher(scenario, batch=100, inline=2)


def test_a_full_queue_refuses_and_recovers() -> None:
    async def scenario(batcher: Doubling, machine: Machine) -> None:
        accepted = [batcher.submit(Rows([1, 2])), batcher.submit(Rows([3, 4]))]
        with pytest.raises(Overloaded) as refused:
            batcher.submit(Rows([5, 6]))
        assert refused.value.headers["Retry-After"] == "1"
        accepted.append(batcher.submit(Rows([7])))
        assert len(await asyncio.gather(*accepted)) == 3
        await batcher.submit(Rows(range(5)))

    with_batcher(scenario, queue=5)


@pytest.mark.parametrize("inline", [1, 100])
def test_a_failed_batch_answers_everyone_and_the_next_one_runs(inline: int) -> None:
    async def scenario(batcher: Doubling, machine: Machine) -> None:
        machine.failure = RuntimeError("broken")
        waiting = [batcher.submit(Rows([1])), batcher.submit(Rows([2])), batcher.submit(Rows(range(9)))]
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(answer) for answer in answers] == [InternalError] * 3
        assert isinstance(answers[0], InternalError)
        assert answers[0].__cause__ is machine.failure
        machine.failure = None
        assert await batcher.submit(Rows([4])) == [[8]]

    with_batcher(scenario, inline=inline)


def test_a_cancelled_request_is_not_computed() -> None:
    async def scenario(batcher: Doubling, machine: Machine) -> None:
        gone, here = batcher.submit(Rows([1])), batcher.submit(Rows([2]))
        gone.cancel()
        assert await here == [[4]]
        assert machine.batches == [[[2]]]

    with_batcher(scenario)


def test_a_request_cancelled_while_it_runs_frees_its_rows() -> None:
    async def scenario(batcher: Doubling, machine: Machine) -> None:
        machine.go.clear()
        gone = batcher.submit(Rows(range(4)))
        await asyncio.sleep(0.01)
        gone.cancel()
        machine.go.set()
        assert await batcher.submit(Rows([1])) == [[2]]

    with_batcher(scenario, inline=1)


def test_a_request_that_waited_too_long_is_told_so_and_not_computed() -> None:
    async def scenario(batcher: Doubling, machine: Machine) -> None:
        machine.go.clear()
        first = batcher.submit(Rows(range(4)))
        await asyncio.sleep(0.01)
        late = batcher.submit(Rows([9]))
        await asyncio.sleep(2.5)
        machine.go.set()
        assert await first
        with pytest.raises(DeadlineExceeded):
            await late
        assert machine.batches == [[[0, 1, 2, 3]]]

    with_batcher(scenario, inline=1, deadline=2.0)


def test_batches_run_beside_one_another_and_parts_keep_their_order() -> None:
    class Slow(Machine):
        def run(self, items: Sequence[Rows]) -> list[int]:
            first = items[0][0] == 0
            if first:
                assert self.go.wait(60)
            self.batches.append([list(item) for item in items])
            if not first:
                self.go.set()
            return [2 * v for item in items for v in item]

    async def scenario(batcher: Doubling, machine: Machine) -> None:
        machine.go.clear()
        assert await batcher.submit(Rows(range(8))) == [[0, 2, 4, 6], [8, 10, 12, 14]]
        assert machine.batches == [[[4, 5, 6, 7]], [[0, 1, 2, 3]]]
        assert batcher.rows == 0

    with_batcher(scenario, inline=1, beside=2, kind=Slow)


def test_a_request_withdrawn_while_one_part_runs_frees_its_rows_once() -> None:
    async def scenario(batcher: Doubling, machine: Machine) -> None:
        machine.go.clear()
        gone = batcher.submit(Rows(range(20)))
        await asyncio.sleep(0.01)
        gone.cancel()
        machine.go.set()
        assert await batcher.submit(Rows([1])) == [[2]]
        while batcher.rows:
            await asyncio.sleep(0.001)
        assert len(machine.batches) == 3

    with_batcher(scenario, inline=1, beside=2)


def test_a_failed_part_fails_its_request_once_the_others_are_back() -> None:
    class Half(Machine):
        def run(self, items: Sequence[Rows]) -> list[int]:
            if items[0][0] == 4:
                raise RuntimeError("broken")
            return super().run(items)

    async def scenario(batcher: Doubling, machine: Machine) -> None:
        with pytest.raises(InternalError):
            await batcher.submit(Rows(range(12)))
        assert await batcher.submit(Rows([1])) == [[2]]
        while batcher.rows:
            await asyncio.sleep(0.001)

    with_batcher(scenario, inline=1, beside=2, kind=Half)


@pytest.mark.parametrize(("company", "turns"), [(1, 1), (2, 2)])
def test_a_request_waits_a_turn_for_company_only_where_the_last_had_some(company: int, turns: int) -> None:
    async def scenario(batcher: Doubling, machine: Machine) -> None:
        await asyncio.gather(*(batcher.submit(Rows([i])) for i in range(company)))
        for _ in range(5):
            await asyncio.sleep(0)
        last = batcher.submit(Rows([9]))
        waited = 0
        while len(machine.batches) < 2:
            await asyncio.sleep(0)
            waited += 1
        assert waited == turns
        await last

    with_batcher(scenario)


def test_another_caller_s_request_waits_for_one_batch_of_a_flood_and_no_longer() -> None:
    async def scenario(batcher: Doubling, machine: Machine) -> None:
        flood = [batcher.submit(Rows([i] * 4), "flood") for i in range(10)]
        other = [batcher.submit(Rows([100 + i]), "other") for i in range(2)]
        await asyncio.gather(*flood, *other)
        assert machine.batches[:4] == [[[0] * 4], [[100]], [[1] * 4], [[101]]]

    with_batcher(scenario)


def test_a_lone_caller_has_the_whole_queue_and_gives_up_what_is_the_part_of_another_who_comes() -> None:
    async def scenario(batcher: Doubling, machine: Machine) -> None:
        flood = [batcher.submit(Rows([i] * 2), "flood") for i in range(5)]
        with pytest.raises(Overloaded):
            batcher.submit(Rows([9]), "flood")
        assert batcher.is_full_for("flood")
        assert not batcher.is_full_for("other")
        other = [batcher.submit(Rows([i]), "other") for i in range(5)]
        with pytest.raises(Overloaded):
            batcher.submit(Rows([9, 9]), "other")  # an even part, and no more
        found = await asyncio.gather(*flood, *other, return_exceptions=True)
        assert [isinstance(outcome, Overloaded) for outcome in found] == [False] * 2 + [True] * 3 + [
            False
        ] * 5

    with_batcher(scenario, queue=10)


def test_where_all_is_at_work_a_newcomer_is_taken_beyond_the_bound() -> None:
    async def scenario(batcher: Doubling, machine: Machine) -> None:
        machine.go.clear()
        flood = batcher.submit(Rows(range(10)), "flood")
        await asyncio.sleep(0.01)
        other = batcher.submit(Rows([1]), "other")
        machine.go.set()
        await asyncio.gather(flood, other)

    with_batcher(scenario, inline=3, queue=10)

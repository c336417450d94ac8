"""The lane for explanations: beside scoring, in small blocks, in the order of the rows."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from nearnorm.service.errors import Overloaded
from nearnorm.service.inference.outputs import Outputs
from nearnorm.service.records.encoded import Rows
from nearnorm.service.serving.explaining import BLOCK_ROWS, QUEUE_ROWS, ScoredRows, explaining_lane
from nearnorm.service.verdict.reasons import Explained


def scored(count: int) -> ScoredRows:
    numbers = np.arange(count, dtype=np.float64)[:, None]
    array = numbers[:, 0].astype(np.float32)
    outputs = Outputs(array, array[:, None], np.arange(count), array, array, array[:, None])
    return ScoredRows(Rows(numbers, np.empty((count, 0), np.int64)), outputs)


def numbered(rows: Rows, outputs: Outputs) -> list[Explained]:
    """Each row's number and its score, in place of its prototype."""
    assert rows.numeric[:, 0].tolist() == outputs.score.tolist()
    return [Explained(int(number), []) for number in rows.numeric[:, 0]]


def test_the_event_loop_goes_on_while_rows_are_explained() -> None:
    may_end = threading.Event()

    def explain(rows: Rows, outputs: Outputs) -> list[Explained]:
        assert may_end.wait(10)
        return numbered(rows, outputs)

    async def run() -> None:
        with ThreadPoolExecutor(1) as executor:
            lane = explaining_lane(explain, 10.0, executor, lambda waits: None)
            waiting = lane.submit(scored(1))
            for _ in range(20):  # what scoring does meanwhile
                await asyncio.sleep(0)
            assert not waiting.done()
            may_end.set()
            assert len((await waiting)[0]) == 1

    asyncio.run(run())


def test_rows_are_explained_in_small_blocks_and_come_back_in_order() -> None:
    blocks: list[int] = []

    def explain(rows: Rows, outputs: Outputs) -> list[Explained]:
        blocks.append(len(rows))
        return numbered(rows, outputs)

    async def run() -> list[list[Explained]]:
        with ThreadPoolExecutor(1) as executor:
            lane = explaining_lane(explain, 10.0, executor, lambda waits: None)
            return await lane.submit(scored(3 * BLOCK_ROWS + 1))

    parts = asyncio.run(run())
    assert max(blocks) <= BLOCK_ROWS
    assert [e.prototype for part in parts for e in part] == list(range(3 * BLOCK_ROWS + 1))


def test_a_full_lane_refuses() -> None:
    async def run() -> None:
        with ThreadPoolExecutor(1) as executor:
            lane = explaining_lane(numbered, 10.0, executor, lambda waits: None)
            with pytest.raises(Overloaded):
                lane.submit(scored(QUEUE_ROWS + 1))

    asyncio.run(run())

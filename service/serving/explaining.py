"""A lane of its own for explanations: one thread, small blocks, so that scoring never waits for them."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from itertools import islice

from msgspec import Struct

from nearnorm.service.inference.outputs import Outputs, concatenated
from nearnorm.service.records.encoded import Rows, gathered
from nearnorm.service.serving.batcher import Batcher, Limits
from nearnorm.service.verdict.reasons import Explained

BLOCK_ROWS = 32
"""Explained in one go: with the variants of each, as large a run as scoring's own."""
QUEUE_ROWS = 4_096


class ScoredRows(Struct, eq=False):
    """Rows and the model's answers to them."""

    rows: Rows
    outputs: Outputs

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, start: int, stop: int) -> "ScoredRows":
        return ScoredRows(self.rows.part(start, stop), self.outputs.part(start, stop))


ExplainingLane = Batcher[ScoredRows, list[Explained], list[Explained]]


def explaining_lane(
    explain: Callable[[Rows, Outputs], list[Explained]],
    deadline_seconds: float,
    executor: Executor,
    observe: Callable[[list[float]], None],
) -> ExplainingLane:
    """Nothing is explained in the event loop's thread, and one block at a time beside it."""

    def together(items: Sequence[ScoredRows]) -> list[Explained]:
        return explain(gathered([i.rows for i in items]), concatenated([i.outputs for i in items]))

    limits = Limits(BLOCK_ROWS, 0, QUEUE_ROWS, deadline_seconds, 1)
    return ExplainingLane(together, _split, limits, executor, observe)


def _split(items: Sequence[ScoredRows], explained: list[Explained]) -> list[list[Explained]]:
    remaining = iter(explained)
    return [list(islice(remaining, len(item))) for item in items]

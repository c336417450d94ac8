"""A lake's pieces read on a Ray cluster (extra ray): each by a task, so many at once, found in their order.

A task gives a table's worth at a time and waits where nobody takes it, so neither the nodes nor who asks
hold more than a little of the lake. Ray does again what a dead worker or node was at, with what was lost.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from nearnorm.models.data.files.parts import FilePiece, Piece
from nearnorm.models.engines.ray_cluster import ray_cluster
from nearnorm.models.errors import ConfigError
from nearnorm.training.dataset.lake.engine import Found

if TYPE_CHECKING:
    from ray import ObjectRef, ObjectRefGenerator

MOST_WAITING = 16
"""Tables' worths of one piece that nobody has taken yet: then its task waits."""


@contextmanager
def on_ray(address: str | None = None, workers: int | None = None) -> "Iterator[RayLakeEngine]":
    """An engine on the cluster at the address, or on one started here, with at most so many tasks at once;
    None: as many as it has CPUs. Raises ConfigError and NearnormError as `ray_cluster`."""
    with ray_cluster(address, workers, "run it again") as ray:
        cpus = max(int(ray.cluster_resources().get("CPU", 1)), 1)
        yield RayLakeEngine(min(workers or cpus, cpus))


@dataclass(frozen=True)
class RayLakeEngine:
    """Works by at most so many tasks at once of the cluster that this process is connected to."""

    workers: int

    def __call__(self, work: Callable[[Piece], Iterator[Found]], pieces: Sequence[Piece]) -> Iterator[Found]:
        """What the work raises is raised here. Raises ConfigError for pieces that are in memory already."""
        import ray

        if not all(isinstance(piece, FilePiece) for piece in pieces):
            raise ConfigError(
                "--engine ray reads Parquet, and a CSV file is read as a whole where the command runs: write "
                "it as Parquet, or leave the option out"
            )
        task = ray.remote(_worked).options(
            num_cpus=1, num_returns="streaming", _generator_backpressure_num_objects=MOST_WAITING
        )
        tasks = _Tasks(partial(task.remote, ray.put(work)), pieces, self.workers)
        while reference := tasks.next():
            try:
                yield deepcopy(ray.get(reference))  # memory of its own: what lies in the cluster's can go
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None


class _Tasks:
    """One for each piece, at most `most` at work; as many again may be done before it is their turn."""

    def __init__(
        self, begin: "Callable[[Piece], ObjectRefGenerator]", pieces: Sequence[Piece], most: int
    ) -> None:
        self._begin, self._left, self._most = begin, deque(pieces), most
        self._going: deque[ObjectRefGenerator] = deque()

    def next(self) -> "ObjectRef | None":
        """What the pieces give, in their order; None after the last."""
        import ray

        while True:
            others = self._top_up()
            if not self._going:
                return None
            first = self._going[0]
            ready, _ = ray.wait([first, *others], num_returns=1)
            if first in ready:
                reference = next(first, None)
                if reference is not None:
                    return reference
                self._going.popleft()

    def _top_up(self) -> "list[ObjectRef]":
        """Begin as many as may be. The ends of those that are at work, but the first."""
        import ray

        ends = [task.completed() for task in self._going]
        working = ray.wait(ends, num_returns=len(ends), timeout=0)[1] if ends else []
        while self._left and len(working) < self._most and len(self._going) < 2 * self._most:
            self._going.append(self._begin(self._left.popleft()))
            working.append(self._going[-1].completed())
        return [end for end in working if end != self._going[0].completed()]


def _worked(work: Callable[[Piece], Iterator[Found]], piece: Piece) -> Iterator[Found]:
    yield from work(piece)

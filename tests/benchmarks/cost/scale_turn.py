"""One turn of `make bench-scale`: WAY WORKERS LAKE OUT; its last line is what it found, as JSON."""

import os
import resource
import sys
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from nearnorm import models
from nearnorm.batch import scorer

STARTER = Path(models.__file__).parent / "starter"
COUNTED_FROM = 0.25
"""Of the parts: by then every worker has started."""


class Turn(Struct, frozen=True):
    """`rows` in `seconds`, counted after `start` seconds. `work`: processor seconds meanwhile, of this
    process and all that it started; `busiest`: of the one that worked most. `memory`: this one's peak, MiB.
    """

    start: float
    rows: int
    seconds: float
    work: float
    busiest: float
    memory: float

    @property
    def speed(self) -> float:
        return self.rows / self.seconds


class Moment:
    """A time, the rows done by then, and the processor seconds of every process of ours."""

    def __init__(self, rows: int) -> None:
        self.time, self.rows, self.work = time.perf_counter(), rows, processor_seconds()


def turn(began: float, first: Moment, last: Moment) -> Turn:
    work = [seconds - first.work.get(pid, 0.0) for pid, seconds in last.work.items()]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Turn(
        start=first.time - began,
        rows=last.rows - first.rows,
        seconds=last.time - first.time,
        work=sum(work),
        busiest=max(work),
        memory=peak,
    )


def processor_seconds() -> dict[int, float]:
    """Of this process and of all below it, by number."""
    parents, seconds = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, _, rest = path.read_text().partition(" (")
        except OSError:  # it has ended
            continue
        fields = rest.rpartition(")")[2].split()
        parents[int(number)] = int(fields[1])
        seconds[int(number)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def is_ours(pid: int) -> bool:
        while pid in parents and pid != os.getpid():
            pid = parents[pid]
        return pid == os.getpid()

    return {pid: used for pid, used in seconds.items() if is_ours(pid)}


def in_parts(way: str, workers: int, lake: str, out: str, began: float) -> Turn:
    from nearnorm.models.data.files.format import FOUND
    from nearnorm.service.batch.parts.on_ray import RayEngine
    from nearnorm.service.batch.parts.run import RunProgress, in_this_process, score_parts

    seen: list[Moment] = []

    def note(progress: RunProgress) -> None:
        if progress.parts >= COUNTED_FROM * progress.of:
            seen.append(Moment(progress.counts.rows))

    score = scorer(STARTER, keep=["id"], threads=workers)
    score_parts(score, lake, out, FOUND, RayEngine(None, workers) if way == "ray" else in_this_process, note)
    return turn(began, seen[0], seen[-1])


def in_spark(workers: int, lake: str, out: str, began: float) -> Turn:
    """The second job over the same files: the first one starts Spark's Python workers."""
    from pyspark.sql import SparkSession
    from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema

    builder = SparkSession.builder.master(f"local[{workers}]").config("spark.ui.enabled", "false")
    rows = builder.getOrCreate().read.parquet(lake)
    score = scorer(STARTER, keep=["id"])
    answers = rows.mapInArrow(score, from_arrow_schema(score.answers(to_arrow_schema(rows.schema))))
    count = rows.count()
    answers.limit(1).write.parquet(f"{out}/first")
    first = Moment(0)
    answers.write.parquet(f"{out}/all")
    return turn(began, first, Moment(count))


def main(way: str, workers: int, lake: str, out: str) -> None:
    began = time.perf_counter()
    found = (
        in_spark(workers, lake, out, began) if way == "spark" else in_parts(way, workers, lake, out, began)
    )
    print("\n" + msgspec.json.encode(found).decode())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])

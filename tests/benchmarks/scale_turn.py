"""One turn of `make bench-scale`: WAY WORKERS LAKE OUT; its last line is what it found, as JSON."""

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
    """`rows` in `seconds`, counted after `start` seconds; `memory`: the peak of this process in MiB."""

    start: float
    rows: int
    seconds: float
    memory: float = 0.0

    @property
    def speed(self) -> float:
        return self.rows / self.seconds


def in_parts(way: str, workers: int, lake: str, out: str, began: float) -> Turn:
    from nearnorm.models.data.files.format import FOUND
    from nearnorm.service.batch.parts.on_ray import RayEngine
    from nearnorm.service.batch.parts.run import RunProgress, in_this_process, score_parts

    seen: list[tuple[float, int]] = []

    def note(progress: RunProgress) -> None:
        if progress.parts >= COUNTED_FROM * progress.of:
            seen.append((time.perf_counter(), progress.counts.rows))

    score = scorer(STARTER, keep=["id"], threads=workers)
    score_parts(score, lake, out, FOUND, RayEngine(None, workers) if way == "ray" else in_this_process, note)
    (first, before), (last, after) = seen[0], seen[-1]
    return Turn(first - began, after - before, last - first)


def in_spark(workers: int, lake: str, out: str, began: float) -> Turn:
    """The second job over the same files: the first one starts Spark's Python workers."""
    from pyspark.sql import SparkSession
    from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema

    builder = SparkSession.builder.master(f"local[{workers}]").config("spark.ui.enabled", "false")
    rows = builder.getOrCreate().read.parquet(lake)
    score = scorer(STARTER, keep=["id"])
    answers = rows.mapInArrow(score, from_arrow_schema(score.answers(to_arrow_schema(rows.schema))))
    answers.limit(1).write.parquet(f"{out}/first")
    start = time.perf_counter()
    answers.write.parquet(f"{out}/all")
    seconds = time.perf_counter() - start
    return Turn(start - began, rows.count(), seconds)


def main(way: str, workers: int, lake: str, out: str) -> None:
    began = time.perf_counter()
    turn = in_spark(workers, lake, out, began) if way == "spark" else in_parts(way, workers, lake, out, began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("\n" + msgspec.json.encode(msgspec.structs.replace(turn, memory=peak)).decode())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])

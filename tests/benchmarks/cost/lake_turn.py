"""One turn of `bench_lake --engines`: WAY WORKERS LAKE; its last line is what it found, as JSON."""

import hashlib
import os
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import msgspec
import pyarrow as pa
from msgspec import Struct

from nearnorm.models.bundle.manifest import Draw, Reading
from nearnorm.models.data.files.parts import open_parts
from nearnorm.training.dataset.lake.draw import keep
from nearnorm.training.dataset.lake.engine import in_this_process
from nearnorm.training.dataset.lake.on_ray import on_ray
from tests.benchmarks.cost.scale_turn import processor_seconds

SHARE, MOST = 3, 1_000_000
"""Of so many rows one is drawn, and at most so many."""


class LakeTurn(Struct, frozen=True):
    """`rows`, each read twice, in `seconds`, after `start` seconds. `work`: processor seconds meanwhile, of
    this process and all that it started; `driver`: of this one alone. `memory` and `workers`: the peaks of
    this one and of the largest of Ray's workers, MiB, with what they see of its store. `digest`: of what was
    kept."""

    start: float
    rows: int
    seconds: float
    work: float
    driver: float
    memory: float
    workers: float
    digest: str


def named(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def peak(pid: int) -> float:
    """MiB; 0 of a process that has ended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def digest(table: pa.Table) -> str:
    written = pa.BufferOutputStream()
    with pa.ipc.new_stream(written, table.schema) as stream:
        stream.write_table(table.combine_chunks())
    return hashlib.sha256(written.getvalue()).hexdigest()


def main(way: str, workers: int, lake: str) -> None:
    began = time.perf_counter()
    parts = open_parts(lake)
    reading = Reading(draw=Draw(unlabelled=min(parts.rows // SHARE, MOST)))
    with on_ray(None, workers) if way == "ray" else nullcontext(in_this_process) as engine:
        before, start = processor_seconds(), time.perf_counter()
        table = keep(parts, "label", reading, engine=engine).table
        seconds = time.perf_counter() - start
        after = processor_seconds()
        peaks = [peak(pid) for pid in after if named(pid).startswith("ray::")]
    work = {pid: used - before.get(pid, 0.0) for pid, used in after.items()}
    turn = LakeTurn(
        start=start - began,
        rows=parts.rows,
        seconds=seconds,
        work=sum(work.values()),
        driver=work[os.getpid()],
        memory=peak(os.getpid()),
        workers=max(peaks, default=0.0),
        digest=digest(table),
    )
    print("\n" + msgspec.json.encode(turn).decode())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])

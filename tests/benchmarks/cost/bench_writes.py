"""`make bench-writes`: events a second that replicas write into one ledger, by their own event logs.

    python -m tests.benchmarks.cost.bench_writes    # PostgreSQL with 1, 2 and 4 replicas, and SQLite with 1

A replica is a process with an event log of its own, as a service or a streamer has one, that writes group
after group without a pause. Each event is an alert of the starter model's. The server is one of this
machine's, whose processors the replicas share.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from nearnorm import models
from nearnorm.models.bundle.bundle import read_bundle
from nearnorm.service.events.log import EventLog, ScoredBatch
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.ledger.tables.events.retention import Amount
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.records.shapes import Envelope
from tests.service.ledger.servers import running_postgres

STARTER = Path(models.__file__).parent / "starter"
GROUPS = (100, 1_000)
"""Events of a group: what comes within 0.2 s, at 500 and at 5,000 kept events a second of a replica."""


class Written(Struct, frozen=True):
    """`events` in `seconds`, and the processor time that the replica took for them."""

    events: int
    seconds: float
    work: float


def replica(url: str | None, home: Path, group: int, seconds: float) -> Written:
    """Writes from the moment that it is told to."""
    ledger = Ledger.at(url, home)
    log = EventLog(ledger, 0.0, Amount(10**9, 10**15), 365.0)
    encoder = Encoder(read_bundle(STARTER).manifest.core.features, group)
    rng = np.random.default_rng(os.getpid())
    names = [feature.name for feature in encoder.schema.scored]
    batches = []
    for _ in range(8):
        rows = rng.normal(50, 20, (group, len(names))).round(3).tolist()
        encoded = encoder.encode(Envelope(records=[dict(zip(names, row, strict=True)) for row in rows]))
        alert = [True] * group
        ones = [0.99] * group
        batches.append(
            ScoredBatch("default", "v", encoder, encoded, ones, ones, alert, alert, [0] * group, "a")
        )
    print("ready", flush=True)
    sys.stdin.readline()
    began, work, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - began < seconds:
        batch = batches[count // group % len(batches)]
        kept = log.keep(batch, log.pick(batch.alert))
        assert len(kept) == group
        log.flush()
        count += group
    found = Written(count, time.perf_counter() - began, time.process_time() - work)
    ledger.close()
    return found


def together(url: str | None, home: Path, replicas: int, group: int, seconds: float) -> list[Written]:
    """So many of them at the same time."""
    where = [str(url or ""), str(home), str(group), str(seconds)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.cost.bench_writes", "--replica", *where],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(replicas)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [msgspec.json.decode(process.communicate()[0], type=Written) for process in processes]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--replica", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.replica:
        url, home, group, seconds = given.replica
        print(msgspec.json.encode(replica(url or None, Path(home), int(group), float(seconds))).decode())
        return
    rates: dict[tuple[str, int, int], list[float]] = defaultdict(list)
    work: dict[tuple[str, int, int], list[float]] = defaultdict(list)
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        urls = {"PostgreSQL": stack.enter_context(running_postgres()), "SQLite": None}
        for url in urls.values():
            ledger = Ledger.at(url, home)
            migrate(ledger)
            ledger.close()
        for _ in range(given.rounds):
            for name, group, replicas in [
                *(("PostgreSQL", group, count) for group in GROUPS for count in (1, 2, 4)),
                *(("SQLite", group, 1) for group in GROUPS),
            ]:
                found = together(urls[name], home, replicas, group, given.seconds)
                events = sum(one.events for one in found)
                rates[name, group, replicas].append(sum(one.events / one.seconds for one in found))
                work[name, group, replicas].append(1e6 * sum(one.work for one in found) / events)
                print(name, group, replicas, f"{rates[name, group, replicas][-1]:,.0f}", file=sys.stderr)
    print(f"{os.cpu_count()} CPUs, load average {os.getloadavg()[1]:.1f}, {given.rounds} rounds, medians\n")
    print(
        "| ledger | events a group | replicas | events/s | of one replica's | processor time, us an event |"
    )
    print("|---|---|---|---|---|---|")
    for (name, group, replicas), each in rates.items():
        alone = rates[name, group, 1]
        ratio = statistics.median(a / b for a, b in zip(each, alone, strict=True))
        print(
            f"| {name} | {group:,} | {replicas} | {statistics.median(each):,.0f} | {ratio:.2f} "
            f"| {statistics.median(work[name, group, replicas]):.0f} |"
        )


if __name__ == "__main__":
    main()

"""`make bench-stream`: the streamer beside a bare loop of its client, and beside /score, by turns.

A topic is filled first, then answered: a rate is that of the answers' own times, from the first to the last.
The processor time of the process that answers is told beside it, since machines are shared. Last, at half the
rate of one record a message, how long answers take from their record's being sent to their being read: the
streamer's and the bare loop's by turns, and the record's own way without any answer, since what these take is
the brokers', the sender's and the reader's share; and how much passes within the streamer, by its own metric.
"""

import argparse
import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Producer

from tests.load.closed import one_round
from tests.load.loads import SOME, Table, load_of
from tests.load.loads import _arrow as as_arrow
from tests.load.rows import NAMES, draw
from tests.load.servers import NEARNORM, Program, Server, clean_environment, nearnorm, running, trained
from tests.load.wrk import write_script
from tests.ports import free_port
from tests.service.interfaces.kafka.brokers import PARTITIONS, Reader, make_topics, noida, tansu

MANY = 100
"""Rows of a message that has many."""


@dataclass(frozen=True)
class Way:
    """`messages` of so many rows each, which are `bodies` in turn, and the command that answers them, with
    places to fill in."""

    name: str
    command: Sequence[str]
    messages: int
    rows: int
    bodies: Sequence[bytes]


@dataclass(frozen=True)
class Rate:
    """Rows a second, and microseconds of processor time a row."""

    rows: float
    cpu_us: float


@dataclass(frozen=True)
class Waits:
    """Milliseconds of every answer, and how many were within the streamer for up to so many seconds."""

    times: list[float]
    inside: dict[float, float]


def lines(rows: Table) -> bytes:
    return b"\n".join(json.dumps(dict(zip(NAMES, row, strict=True))).encode() for row in rows)


STREAM = f"{NEARNORM} stream --brokers {{brokers}} --in {{in}} --out {{out}} --port {{port}}".split()


def ways() -> list[Way]:
    bare = (sys.executable, "-m", "tests.load.bare_loop", "{brokers}", "{in}", "{out}")
    one, many, arrow = drawn(1, lines), drawn(MANY, lines), drawn(MANY, as_arrow)
    return [
        Way("bare loop, message by message", (*bare, "send"), 30_000, 1, one),
        Way("bare loop, in batches", (*bare, "batch"), 30_000, 1, one),
        Way(f"bare loop, {MANY} records a message, lines", (*bare, "batch"), 1_500, MANY, many),
        Way("one record a message", STREAM, 30_000, 1, one),
        Way(f"{MANY} records a message, lines", STREAM, 1_500, MANY, many),
        Way(f"{MANY} records a message, Arrow", STREAM, 1_500, MANY, arrow),
    ]


def drawn(rows: int, write: Callable[[Table], bytes]) -> list[bytes]:
    return [write(draw(rows, seed, 0.001)[0].tolist()) for seed in range(64)]


def fill(brokers: str, topic: str, way: Way) -> None:
    producer = Producer(
        {"bootstrap.servers": brokers, "linger.ms": 20, "queue.buffering.max.messages": 10**6}
    )
    for number in range(way.messages):
        body = way.bodies[number % len(way.bodies)]
        producer.produce(topic, body, str(number), partition=number % PARTITIONS)
        producer.poll(0)
    assert producer.flush(120) == 0


def measured(way: Way, brokers: str, home: Path, number: int, **settings: str) -> Rate:
    records, answers = f"records-{number}", f"answers-{number}"
    make_topics(brokers, records, answers)
    fill(brokers, records, way)
    filled = {"brokers": brokers, "in": records, "out": answers, "port": str(free_port())}
    with (home / "bench.log").open("ab") as log:
        process = subprocess.Popen(
            [part.format(**filled) for part in way.command],
            env=clean_environment(NEARNORM_HOME=str(home), **settings),
            stdout=log,
            stderr=log,
        )
    program = Program(way.name, way.command, frozenset(), {})
    try:
        reader = Reader(brokers, answers)
        reader.read(1, 120)
        before = Server(program, process, 0).cpu_seconds
        first = len(reader.seen)
        reader.read(way.messages - first, 300)
        cpu = Server(program, process, 0).cpu_seconds - before
        reader.close()
    finally:
        process.terminate()
        process.wait(60)
    times = sorted(message.timestamp()[1] / 1000 for message in reader.seen)
    rows = way.messages * way.rows
    return Rate(rows / max(0.001, times[-1] - times[0]), 1e6 * cpu / ((way.messages - first) * way.rows))


def inside(port: str) -> dict[float, float]:
    """Answers so far by the upper bounds of their seconds within the streamer; none of a bare loop."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            told = answer.read().decode()
    except OSError:  # the bare loop has no port
        return {}
    found = re.findall(r'^nearnorm_stream_inside_seconds_bucket\{le="(.+)"\} (.+)$', told, re.MULTILINE)
    return {float(bound): float(count) for bound, count in found}


def within(counts: dict[float, float], share: float) -> float:
    """Milliseconds within which so many of them were, as far as the buckets tell."""
    return 1e3 * next(bound for bound, count in counts.items() if count >= share * counts[math.inf])


@contextmanager
def answering(way: Way, filled: dict[str, str], home: Path) -> Iterator[None]:
    process = subprocess.Popen(
        [part.format(**filled) for part in way.command],
        env=clean_environment(NEARNORM_HOME=str(home)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def waits(way: Way | None, brokers: str, home: Path, number: int, rate: float, seconds: float) -> Waits:
    """From sending a record to reading its answer, at so many records a second; the record itself where
    nobody answers."""
    records, port = f"sent-{number}", str(free_port())
    answers = f"read-{number}" if way else records
    make_topics(brokers, *{records, answers})
    filled = {"brokers": brokers, "in": records, "out": answers, "port": port}
    with answering(way, filled, home) if way else nullcontext():
        return _waits(brokers, records, answers, port, rate, seconds)


def _waits(brokers: str, records: str, answers: str, port: str, rate: float, seconds: float) -> Waits:
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 1})
    body = lines(draw(1, 1, 0.0)[0].tolist())
    stop = threading.Event()

    def send() -> None:
        began, sent = time.time(), 0
        while not stop.is_set():
            while sent < (time.time() - began) * rate:
                producer.produce(records, body, str(time.time_ns()), partition=sent % PARTITIONS)
                sent += 1
            producer.poll(0.001)

    found: list[float] = []
    producer.produce(records, body, b"0")
    producer.flush()
    reader = Reader(brokers, answers)
    reader.read(1, 120)  # it has joined
    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    began, before = time.time(), inside(port)
    while time.time() - began < seconds:
        messages, now = reader.poll(0.005), time.time_ns()
        if time.time() - began > 1.0:
            found += [(now - int(message.key() or b"0")) / 1e6 for message in messages]
    after = inside(port)
    stop.set()
    sender.join()
    reader.close()
    return Waits(sorted(found), {bound: count - before[bound] for bound, count in after.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2, help="of /score in each round")
    parser.add_argument("--rate", type=float, help="records a second whose waits are told; default: half")
    parser.add_argument("--broker", choices=("tansu", "noida"), default="tansu")
    parser.add_argument("--model", type=Path, default=Path("build/bench-serve"), help="kept between runs")
    given = parser.parse_args()
    bundle = trained(given.model)
    found: dict[str, list[Rate]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name, {"tansu": tansu, "noida": noida}[given.broker]() as brokers:
        folder = Path(name)
        served, load = nearnorm(bundle, folder), load_of(SOME, "records")
        script, every, number = write_script(load, folder), ways(), 0
        for turn in range(given.rounds):
            with running([served], first_port=free_port()) as [server]:
                one = one_round(server, load, script, given.seconds)
                found["/score, 32 rows a request"].append(Rate(one.rate * SOME.rows, one.cpu_us / SOME.rows))
            for way in every:
                number += 1
                found[way.name].append(measured(way, brokers, folder, number))
                print(f"round {turn + 1}: {way.name}: {found[way.name][-1]}", file=sys.stderr)
        by_name = {way.name: way for way in every}
        loop, ours = by_name["bare loop, in batches"], by_name["one record a message"]
        half = given.rate or statistics.median(rate.rows for rate in found[ours.name]) / 2
        waited: dict[str, list[Waits]] = defaultdict(list)
        for turn in range(given.rounds):
            for place, answerer in enumerate((None, loop, ours)):
                what = answerer.name if answerer else "the brokers alone"
                waited[what].append(waits(answerer, brokers, folder, 3 * turn + place, half, 8.0))
    print(
        f"{platform.machine()}, {os.cpu_count()} CPUs, load average {os.getloadavg()[1]:.1f}, {given.broker}"
    )
    print(f"{given.rounds} rounds, medians\n\n| | rows a second | CPU us a row |\n|---|---|---|")
    for what, rates in found.items():
        rows, cpu = (statistics.median(getattr(one, field) for one in rates) for field in ("rows", "cpu_us"))
        print(f"| {what} | {rows:,.0f} | {cpu:.1f} |")
    many = f"bare loop, {MANY} records a message, lines"
    held = [(ours.name, "bare loop, message by message", 0.5), (ours.name, loop.name, 0.5)]
    held += [(way.name, "/score, 32 rows a request", 1.0) for way in every[4:]]
    held += [(way.name, many, 0.5) for way in every[4:]] + [(many, "/score, 32 rows a request", 1.0)]
    for way_name, other, least in held:
        pairs = list(zip(found[way_name], found[other], strict=True))
        seen = statistics.median(a.rows / b.rows for a, b in pairs)
        cpu = statistics.median(a.cpu_us / b.cpu_us for a, b in pairs)
        asked = "as asked" if seen >= least else "LESS THAN ASKED"
        print(f"{way_name}: {seen:.2f} times {other}, with {cpu:.2f} of its processor time: {asked}")
    for what, rounds in waited.items():
        p50, p99 = (
            statistics.median(one.times[min(len(one.times) - 1, int(len(one.times) * q))] for one in rounds)
            for q in (0.5, 0.99)
        )
        print(f"{what} at {half:,.0f} records/s, from sent to read: median {p50:.1f} ms, p99 {p99:.1f} ms")
        if rounds[0].inside:
            p50, p99 = (statistics.median(within(one.inside, q) for one in rounds) for q in (0.5, 0.99))
            print(f"of these within the streamer: half up to {p50:g} ms, 99 of a hundred up to {p99:g} ms")


if __name__ == "__main__":
    main()

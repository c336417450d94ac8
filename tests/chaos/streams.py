"""Kill the streamer again and again while records come: is any lost, out of order, or answered twice unseen?

    python -m tests.chaos.streams --broker tansu --kills 50    # at least once
    python -m tests.chaos.streams --broker noida --kills 50    # in transactions: exactly once

Real brokers, real processes, SIGKILL by process id at random moments. Every record has a number for its key,
so that what the topic of answers holds at the end can be counted against what was sent.
"""

import argparse
import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa
from confluent_kafka import Consumer, Producer, TopicPartition

from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.events.events import events
from tests.ports import free_port
from tests.service.interfaces.kafka.brokers import PARTITIONS, Reader, make_topics, noida, tansu

BROKERS = {"tansu": tansu, "noida": noida}
QUIET: dict[str, Any] = {
    "f1": 53,
    "f2": 0,
    "f3": 82,
    "f4": 0,
    "f5": 52,
    "f6": -5,
    "f7": 29,
    "f8": 30,
    "f9": 2,
}
ODD = QUIET | {"f1": 123, "f2": 213, "f3": 105, "f5": 36, "f6": -2, "f7": -18, "f8": 69, "f9": 86}
NEARNORM = Path(sys.executable).parent / "nearnorm"
SESSION_SECONDS = {"tansu": 1, "noida": 6}
"""After which a killed streamer's partitions are free: as few as the broker takes."""
chance = random.Random(0)  # noqa: S311


@dataclass
class Outcome:
    """`doubled` are answers beyond the first of a record, `counted` what the streamers told of them;
    `disordered` are answers behind a later record's, but for those after a kill; `lost_events` are said to be
    kept, and are not in the ledger."""

    broker: str
    kills: int
    sent: int = 0
    unanswered: int = 0
    doubled: int = 0
    counted: int = 0
    disordered: int = 0
    kept: int = 0
    lost_events: int = 0
    doubled_events: int = 0
    exactly_once: bool = False
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        held = self.unanswered == self.disordered == self.lost_events == self.doubled_events == 0
        return held and self.sent > 0 and self.doubled == (0 if self.exactly_once else self.counted)


class Streamer:
    """One `nearnorm stream` at a time."""

    def __init__(self, home: Path, broker: str, brokers: str, audit_rate: str = "0.01") -> None:
        self._url = f"http://127.0.0.1:{(port := free_port())}"
        self._command = [str(NEARNORM), "stream", "--brokers", brokers, "--in", "records", "--out", "answers"]
        self._command += ["--port", str(port), "--instance", "one"]
        told = {
            "HOME": str(home),
            "AUDIT_RATE": audit_rate,
            "KAFKA_SESSION_SECONDS": str(SESSION_SECONDS[broker]),
        }
        self._environment = os.environ | {f"NEARNORM_{name}": value for name, value in told.items()}
        self._environment["OMP_NUM_THREADS"] = "1"
        self._log = (home / "stream.log").open("ab")
        self._group = Group(brokers)
        self._process: subprocess.Popen[bytes]

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdout=self._log, stderr=self._log
        )

    def metrics(self) -> dict[str, float]:
        """The sums over their labels; empty while there is nobody to tell."""
        found: dict[str, float] = defaultdict(float)
        with contextlib.suppress(httpx.TransportError):
            for line in httpx.get(f"{self._url}/metrics", timeout=60, verify=False).text.splitlines():
                if line.startswith("nearnorm_stream_"):
                    name, _, value = line.rpartition(" ")
                    found[name.removeprefix("nearnorm_stream_").partition("{")[0]] += float(value)
        return found

    def answers_again(self) -> int:
        """As it tells, once it has answered all that is there now: it is past what it answers again."""
        ends = self._group.ends()
        deadline = time.monotonic() + 240
        while not (self._group.is_past(ends) and (found := self.metrics())):
            assert self._process.poll() is None, Path(self._log.name).read_text()[-3000:]
            assert time.monotonic() < deadline, f"it does not catch up: {dict(self.metrics())}"
            time.sleep(0.02)
        return round(found["answered_again_total"])

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        self._process.send_signal(how)
        self._process.wait(60)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait(60)
        self._group.close()
        self._log.close()


class Group:
    """Up to where the streamers' group has answered, as the broker has it: a metric is a second behind."""

    def __init__(self, brokers: str) -> None:
        self._consumer = Consumer({"bootstrap.servers": brokers, "group.id": "nearnorm"})
        self._partitions = [TopicPartition("records", number) for number in range(PARTITIONS)]

    def ends(self) -> list[int]:
        """Of each partition of records, now."""
        return [self._consumer.get_watermark_offsets(one, timeout=60)[1] for one in self._partitions]

    def is_past(self, ends: list[int]) -> bool:
        committed = self._consumer.committed(self._partitions, timeout=60)
        return all(end == 0 or one.offset >= end for one, end in zip(committed, ends, strict=True))

    def close(self) -> None:
        self._consumer.close()


class Feed:
    """A thread that sends numbered records, some of them odd, a few hundred a second until told to stop, and
    thousands in a `burst`."""

    def __init__(self, brokers: str) -> None:
        self._producer = Producer({"bootstrap.servers": brokers, "acks": "all", "linger.ms": 5})
        self._stop = threading.Event()
        self.burst = threading.Event()
        self.acknowledged: set[str] = set()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)
        assert self._producer.flush(60) == 0

    def _send(self) -> None:
        number = 0
        while not self._stop.wait(0.01):
            count = chance.randrange(1, 10)
            if self.burst.is_set():
                count = 3_000
                self.burst.clear()
            for _ in range(count):
                key, record = str(number), ODD if number % 20 == 0 else QUIET | {"f1": 50 + number % 7}
                self._producer.produce(
                    "records",
                    json.dumps(record),
                    key,
                    partition=number % PARTITIONS,
                    on_delivery=lambda error, message: self._sent(error, message.key()),
                )
                number += 1
            self._producer.poll(0)

    def _sent(self, error: object, key: bytes | str | None) -> None:
        if error is None and isinstance(key, bytes):
            self.acknowledged.add(key.decode())


def run(broker: str, kills: int, home: Path) -> Outcome:
    outcome, began = Outcome(broker, kills), time.monotonic()
    with BROKERS[broker]() as brokers:
        make_topics(brokers, "records", "answers")
        streamer, feed = Streamer(home, broker, brokers), Feed(brokers)
        try:
            for kill in range(kills):
                streamer.start()
                outcome.counted += streamer.answers_again()
                feed.burst.set()
                time.sleep(chance.random() * 0.3)
                streamer.kill()
                sys.stderr.write(f"\rkilled {kill + 1} times of {kills}")
            streamer.start()
            feed.stop()
            outcome.counted += streamer.answers_again()
            outcome.exactly_once = streamer.metrics()["exactly_once"] == 1.0
            streamer.kill(signal.SIGTERM)
        finally:
            streamer.close()
        _count(outcome, brokers, feed.acknowledged, home)
    outcome.seconds = round(time.monotonic() - began, 1)
    return outcome


def _count(outcome: Outcome, brokers: str, sent: set[str], home: Path) -> None:
    reader = Reader(brokers, "answers")
    answers = list(reader.rest(10.0))
    reader.close()
    outcome.sent = len(sent)
    by_key = Counter((answer.key() or b"").decode() for answer in answers)
    outcome.unanswered = len(sent - by_key.keys())
    outcome.doubled = by_key.total() - len(by_key)
    by_partition: dict[int, list[int]] = defaultdict(list)
    kept: set[str] = set()
    for answer in sorted(answers, key=lambda one: (one.partition() or 0, one.offset() or 0)):
        said = json.loads(answer.value() or b"")
        by_partition[said["partition"]].append(said["offset"])
        if said.get("kept"):
            kept.add(said["event_id"])
    backwards = sum(b <= a for found in by_partition.values() for a, b in itertools.pairwise(found))
    outcome.disordered = max(0, backwards - (0 if outcome.exactly_once else outcome.kills * PARTITIONS))
    sources = list(_sources(home))
    outcome.kept = len(kept)
    outcome.lost_events = len(kept - set(sources))
    outcome.doubled_events = len(sources) - len(set(sources))


def _sources(home: Path) -> Iterator[str]:
    ledger = Ledger.at(None, home)
    with ledger.read() as connection:
        yield from connection.scalars(sa.select(events.c.source).where(events.c.source.is_not(None)))
    ledger.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--broker", choices=sorted(BROKERS), required=True)
    parser.add_argument("--kills", type=int, default=50)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        outcome = run(given.broker, given.kills, Path(home))
    print(f"\r{json.dumps(asdict(outcome), indent=1)}")
    sys.exit(0 if outcome.ok else 1)


if __name__ == "__main__":
    main()

"""A turn of `make bench-scale` by topics: streamers of one group answer the rows of the lake's first file."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
from confluent_kafka import Producer

from tests.benchmarks.cost.scale_turn import COUNTED_FROM, Moment, Turn, turn
from tests.ports import free_port
from tests.service.interfaces.kafka.brokers import PARTITIONS, Reader, make_topics, tansu

ROWS = 100
"""Of a message."""
NEARNORM = Path(sys.executable).with_name("nearnorm")


def main(workers: int, lake: Path) -> None:
    began = time.perf_counter()
    rows = pq.read_table(sorted(lake.glob("*.parquet"))[0]).drop_columns(["id"]).to_pylist()
    messages = [
        b"\n".join(map(msgspec.json.encode, rows[start : start + ROWS]))
        for start in range(0, len(rows), ROWS)
    ]
    with tansu() as brokers, tempfile.TemporaryDirectory() as home:
        make_topics(brokers, "records", "answers")
        _send(brokers, messages)
        streamers = [_streamer(brokers, home) for _ in range(workers)]
        try:
            found = _answered(brokers, len(messages), began)
        finally:
            for streamer in streamers:
                streamer.terminate()
            for streamer in streamers:
                streamer.wait(60)
    print("\n" + msgspec.json.encode(found).decode())


def _send(brokers: str, messages: Sequence[bytes]) -> None:
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 20})
    for number, message in enumerate(messages):
        producer.produce("records", message, partition=number % PARTITIONS)
        producer.poll(0)
        if number % 500 == 0:
            producer.flush(60)
    assert producer.flush(120) == 0


def _streamer(brokers: str, home: str) -> subprocess.Popen[bytes]:
    topics = ["--in", "records", "--out", "answers", "--port", str(free_port())]
    return subprocess.Popen(
        [NEARNORM, "stream", "--brokers", brokers, *topics],
        env=os.environ | {"NEARNORM_HOME": home},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _answered(brokers: str, count: int, began: float) -> Turn:
    """Counted from a quarter of the messages on: by then every streamer has its partitions. The broker's work
    is counted with theirs, and the reader's is not."""
    reader = Reader(brokers, "answers")
    first = round(COUNTED_FROM * count)
    reader.read(first, 300)
    moments = [Moment(ROWS * len(reader.seen))]
    reader.read(count - len(reader.seen), 600)
    moments.append(Moment(ROWS * len(reader.seen)))
    reader.close()
    for moment in moments:
        del moment.work[os.getpid()]
    return turn(began, *moments)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))

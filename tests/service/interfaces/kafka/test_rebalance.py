"""Two living streamers of one group: one joins, one leaves, while records come."""

import itertools
import json
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from confluent_kafka import Producer

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.interfaces.kafka.options import StreamOptions
from nearnorm.service.settings import Settings
from tests.service.asking import RECORD
from tests.service.interfaces.kafka.brokers import PARTITIONS, Reader, make_topics, noida, tansu
from tests.service.interfaces.kafka.streaming import metric, streaming
from tests.service.running import home_with
from tests.service.waiting import until

SESSION_SECONDS = {"noida": 6.0, "tansu": 1.0}
"""As few as the broker takes: a third of it goes by before a streamer hears that another has come."""


class Feed:
    """Numbered records, a few hundred a second in turn for every partition, until told to stop."""

    def __init__(self, brokers: str) -> None:
        self._producer = Producer({"bootstrap.servers": brokers, "acks": "all", "linger.ms": 5})
        self._stop = threading.Event()
        self.sent = 0
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self) -> None:
        body = json.dumps(RECORD)
        while not self._stop.wait(0.02):
            for _ in range(8):
                self._producer.produce("records", body, str(self.sent), partition=self.sent % PARTITIONS)
                self.sent += 1
            self._producer.poll(0)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        assert self._producer.flush(30) == 0


@pytest.fixture(params=["noida", "tansu"])
def broker(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    with {"noida": noida, "tansu": tansu}[request.param]() as brokers:
        make_topics(brokers, "records", "answers")
        yield request.param, brokers


def partitions_of(streamer: httpx.Client) -> int:
    text = streamer.get("/metrics").text
    return sum(line.startswith("nearnorm_stream_lag_messages{") for line in text.splitlines())


def answered(streamer: httpx.Client) -> float:
    return metric(streamer, "nearnorm_stream_messages_total")


def test_no_record_is_lost_doubled_or_out_of_order_while_one_joins_and_one_leaves(
    tmp_path: Path, bundle: Bundle, broker: tuple[str, str]
) -> None:
    name, brokers = broker
    home = home_with(tmp_path, bundle)
    settings = Settings(home=home, audit_rate=0.0, kafka_session_seconds=SESSION_SECONDS[name])
    options = StreamOptions(brokers, "records", "answers")
    with streaming(settings, options) as stays:
        feed = Feed(brokers)
        try:
            until(lambda: answered(stays) > 0, seconds=60)
            with streaming(settings, options) as joins:
                until(lambda: partitions_of(joins) == partitions_of(stays) == PARTITIONS // 2, seconds=60)
                before = answered(stays)
                until(lambda: answered(joins) > 50 and answered(stays) > before + 50, seconds=60)
                again = metric(joins, "nearnorm_stream_answered_again_total")
            until(lambda: partitions_of(stays) == PARTITIONS, seconds=60)
            before = answered(stays)
            until(lambda: answered(stays) > before + 50, seconds=60)
        finally:
            feed.stop()
        reader = Reader(brokers, "answers")
        found = reader.read(feed.sent) + list(reader.rest())
        reader.close()
        again += metric(stays, "nearnorm_stream_answered_again_total")
    keys = Counter(int(answer.key() or b"-1") for answer in found)
    assert sorted(keys) == list(range(feed.sent))
    doubled = len(found) - feed.sent
    if name == "noida":  # in transactions
        assert doubled == 0
    else:
        assert doubled <= again
    first: dict[int, list[int]] = defaultdict(list)
    for answer in sorted(found, key=lambda one: (one.partition() or 0, one.offset() or 0)):
        offset = int(json.loads(answer.value() or b"")["offset"])
        if offset not in first[answer.partition() or 0]:
            first[answer.partition() or 0].append(offset)
    for offsets in first.values():
        assert all(a < b for a, b in itertools.pairwise(offsets))

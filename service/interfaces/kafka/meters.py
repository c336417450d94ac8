"""A streamer's metrics: what was answered, again perhaps, what waits and for how long."""

import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence

import numpy as np
from aiokafka import ConsumerRecord, TopicPartition
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from nearnorm.service.metrics.counters import SECONDS, BucketCounts

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily
_PARTITION = ("topic", "partition")


class PartitionMeter:
    """One partition that is ours: up to where it is answered, where it ends, and what is at work."""

    def __init__(self, position: int) -> None:
        self.position = position
        self.end: int | None = None  # not known until the brokers were asked
        self.newest_ms: int | None = None  # of what was answered last
        self.oldest_ms: int | None = None  # of what is being answered
        self._taken: deque[tuple[int, float]] = deque()  # how many were taken together, and when

    def take(self, count: int) -> None:
        self._taken.append((count, time.monotonic()))

    def hand_over(self, count: int) -> Iterator[tuple[int, float]]:
        """Of messages in the order in which they were taken: how many took so many seconds."""
        now = time.monotonic()
        while count and self._taken:
            taken, at = self._taken.popleft()
            same = min(count, taken)
            count -= same
            yield same, now - at
            if same < taken:
                self._taken.appendleft((taken - same, at))

    @property
    def lag(self) -> int | None:
        """None: not known yet."""
        return None if self.end is None else max(0, self.end - self.position)

    def oldest_seconds(self, now: float) -> float:
        """The age of the oldest message without an answer; for one that was not read yet that of the one
        before it, which is no less."""
        since = self.oldest_ms if self.oldest_ms is not None else self.newest_ms if self.lag else None
        return 0.0 if since is None else max(0.0, now - since / 1000)


class StreamMeters(Collector):
    def __init__(self) -> None:
        self.messages: Counter[str] = Counter(answered=0, refused=0, dead_letter=0)
        self.again = 0
        self.counted: Counter[str] = Counter(counted=0, late=0, again=0, ahead=0)
        self.verdicts: Counter[str] = Counter(stored=0, refused=0)
        self.rebalances = 0
        self.exactly_once = False
        self.seconds = BucketCounts(SECONDS)
        self.inside_seconds = BucketCounts(SECONDS)
        self.partitions: dict[TopicPartition, PartitionMeter] = {}

    def begun(self, partition: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        meter = self.partitions[partition]
        if meter.oldest_ms is None:
            meter.oldest_ms = records[0].timestamp
        if meter.end is not None:
            meter.end = max(meter.end, records[-1].offset + 1)
        meter.take(len(records))

    def handed_over(self, partition: TopicPartition, count: int) -> None:
        """So many answers, in their order, are with Kafka's client."""
        if meter := self.partitions.get(partition):
            for same, seconds in meter.hand_over(count):
                self.inside_seconds.observe_many(seconds, same)

    def answered(self, partition: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        stamps = np.array([record.timestamp for record in records])
        self.seconds.observe_array(np.maximum(time.time() - stamps / 1000, 0.0))
        if meter := self.partitions.get(partition):
            meter.position = records[-1].offset + 1
            meter.newest_ms = records[-1].timestamp
            meter.oldest_ms = None

    def collect(self) -> Iterator[Family]:
        messages = CounterMetricFamily(
            "nearnorm_stream_messages", "Messages, by what became of them.", labels=("outcome",)
        )
        for outcome, count in self.messages.items():
            messages.add_metric((outcome,), count)
        yield messages
        again = CounterMetricFamily(
            "nearnorm_stream_answered_again", "Messages whose answers were there already, but not committed."
        )
        again.add_metric((), self.again)
        yield again
        verdicts = CounterMetricFamily(
            "nearnorm_stream_verdicts",
            "Messages of verdicts, stored as feedback or refused.",
            labels=("outcome",),
        )
        for outcome, count in self.verdicts.items():
            verdicts.add_metric((outcome,), count)
        yield verdicts
        counted = CounterMetricFamily(
            "nearnorm_stream_counted",
            "Records of a model that counts over windows: counted, counted too late for others to see them, "
            "counted before, or ahead of the clock and not counted.",
            labels=("outcome",),
        )
        for outcome, count in self.counted.items():
            counted.add_metric((outcome,), count)
        yield counted
        rebalances = CounterMetricFamily("nearnorm_stream_rebalances", "How often partitions were dealt out.")
        rebalances.add_metric((), self.rebalances)
        yield rebalances
        once = GaugeMetricFamily(
            "nearnorm_stream_exactly_once", "1 where answers go in transactions, 0 where at least once."
        )
        once.add_metric((), float(self.exactly_once))
        yield once
        seconds = HistogramMetricFamily(
            "nearnorm_stream_seconds", "From a message's time to its answer's being with the brokers."
        )
        self.seconds.add_to(seconds, ())
        yield seconds
        inside = HistogramMetricFamily(
            "nearnorm_stream_inside_seconds",
            "From a message's being taken to its answer's being handed to Kafka's client, its event in the "
            "ledger.",
        )
        self.inside_seconds.add_to(inside, ())
        yield inside
        yield from self._of_partitions()

    def _of_partitions(self) -> Iterator[Family]:
        lag = GaugeMetricFamily(
            "nearnorm_stream_lag_messages", "Messages without an answer.", labels=_PARTITION
        )
        oldest = GaugeMetricFamily(
            "nearnorm_stream_oldest_seconds",
            "Age of the oldest message without an answer.",
            labels=_PARTITION,
        )
        now = time.time()
        for partition, meter in self.partitions.items():
            labels = (partition.topic, str(partition.partition))
            if meter.lag is not None:
                lag.add_metric(labels, meter.lag)
            oldest.add_metric(labels, meter.oldest_seconds(now))
        yield lag
        yield oldest

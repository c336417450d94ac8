"""What waits and for how long, as Prometheus sees it."""

import time

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from prometheus_client import CollectorRegistry

from nearnorm.service.interfaces.kafka.meters import PartitionMeter, StreamMeters

PARTITION = TopicPartition("records", 2)


def record(offset: int, seconds_ago: float) -> ConsumerRecord:
    at = round((time.time() - seconds_ago) * 1000)
    return ConsumerRecord("records", 2, offset, at, 0, None, b"{}", None, 0, 0, ())


def told(meters: StreamMeters, name: str) -> float:
    registry = CollectorRegistry()
    registry.register(meters)
    found = registry.get_sample_value(name, {"topic": "records", "partition": "2"})
    assert found is not None
    return found


def test_lag_and_age_are_those_of_what_has_no_answer() -> None:
    meters = StreamMeters()
    meters.partitions[PARTITION] = PartitionMeter(10)
    meters.partitions[PARTITION].end = 12
    assert told(meters, "nearnorm_stream_oldest_seconds") == 0.0
    meters.begun(PARTITION, [record(10, 100.0), record(11, 50.0)])
    assert told(meters, "nearnorm_stream_lag_messages") == 2
    assert 99.0 <= told(meters, "nearnorm_stream_oldest_seconds") < 160.0
    meters.answered(PARTITION, [record(10, 100.0)])
    meters.partitions[PARTITION].end = 14
    assert told(meters, "nearnorm_stream_lag_messages") == 3
    assert told(meters, "nearnorm_stream_oldest_seconds") >= 99.0
    meters.answered(PARTITION, [record(13, 40.0)])
    assert told(meters, "nearnorm_stream_lag_messages") == 0
    assert told(meters, "nearnorm_stream_oldest_seconds") == 0.0


def test_lag_is_not_told_before_the_brokers_said_where_a_partition_ends() -> None:
    meters = StreamMeters()
    meters.partitions[PARTITION] = PartitionMeter(10)
    meters.begun(PARTITION, [record(10, 1.0)])
    lag = "nearnorm_stream_lag_messages"
    assert not [sample for family in meters.collect() for sample in family.samples if sample.name == lag]
    meters.partitions[PARTITION].end = 14
    assert told(meters, lag) == 4


def test_a_partition_that_others_have_by_now_is_not_told_of() -> None:
    meters = StreamMeters()
    meters.partitions[PARTITION] = PartitionMeter(10)
    meters.partitions.clear()
    meters.answered(PARTITION, [record(10, 1.0)])
    assert not meters.partitions


def test_how_long_messages_were_within_the_streamer_is_counted_by_those_taken_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter([10.0, 12.0, 13.0, 14.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    meter = PartitionMeter(10)
    meter.take(3)
    meter.take(2)
    assert list(meter.hand_over(4)) == [(3, 3.0), (1, 1.0)]
    assert list(meter.hand_over(1)) == [(1, 2.0)]

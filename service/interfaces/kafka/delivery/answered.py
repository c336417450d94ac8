"""What was answered before, as the topic of answers tells."""

from collections.abc import Collection

from aiokafka import TopicPartition

from nearnorm.service.interfaces.kafka.answers.answers import EVENT_ID
from nearnorm.service.interfaces.kafka.clients import Clients

LOOK_BACK = 8_192
"""Answers of a partition that are looked at: more than one streamer leaves without a commit."""
_LOOK_MS = 1_000


async def newest_answered(clients: Clients, targets: Collection[TopicPartition]) -> dict[TopicPartition, int]:
    """By partition of records the newest message that has an answer in `targets`. Raises KafkaError."""
    newest: dict[TopicPartition, int] = {}
    consumer = clients.consumer(group=None)
    await consumer.start()
    try:
        consumer.assign(list(targets))
        begins, ends = await consumer.beginning_offsets(targets), await consumer.end_offsets(targets)
        for one in targets:
            consumer.seek(one, max(begins[one], ends[one] - LOOK_BACK))
        left = [one for one in targets if begins[one] < ends[one]]
        while left:
            for records in (await consumer.getmany(timeout_ms=_LOOK_MS)).values():
                for record in records:
                    source, offset = _source(dict(record.headers).get(EVENT_ID, b""))
                    newest[source] = max(offset, newest.get(source, -1))
            left = [one for one in left if await consumer.position(one) < ends[one]]
    finally:
        await consumer.stop()
    return newest


def _source(event_id: bytes) -> tuple[TopicPartition, int]:
    """Of what others wrote there, a topic that nobody asks for."""
    topic, _, rest = event_id.decode(errors="replace").partition(":")
    partition, _, offset = rest.partition(":")
    if not (partition.isdecimal() and offset.isdecimal()):
        return TopicPartition("", 0), -1
    return TopicPartition(topic, int(partition)), int(offset)

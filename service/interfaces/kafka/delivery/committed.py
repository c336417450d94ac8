"""Where a group stands in partitions of records."""

import asyncio
from collections.abc import Collection

from aiokafka import AIOKafkaConsumer, TopicPartition


async def positions(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, int]:
    """By partition the offset of the message that comes next, as the brokers have it: where nothing was
    committed yet, its first one. Raises KafkaError."""
    found = await asyncio.gather(*(consumer.committed(one) for one in partitions))
    known = {one: offset for one, offset in zip(partitions, found, strict=True) if offset is not None}
    new = [one for one in partitions if one not in known]
    if new:
        known |= await consumer.beginning_offsets(new)
    return known

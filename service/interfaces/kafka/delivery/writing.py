"""Answers on their way to the brokers: which partition of which topic, in batches as large as may be."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.producer.message_accumulator import BatchBuilder

from nearnorm.service.interfaces.kafka.answers.answers import TopicAnswer
from nearnorm.service.interfaces.kafka.options import StreamOptions


class Writer:
    """A partition of records has its answers in one partition, by its number: so their order stays, and where
    both topics have as many, an answer lies where its record does."""

    def __init__(self, options: StreamOptions) -> None:
        self._options = options
        self._partitions: dict[str, int] = {}

    async def target(self, producer: AIOKafkaProducer, answer_topic: str, partition: int) -> TopicPartition:
        """Where answers go to the records of a partition."""
        if answer_topic not in self._partitions:
            self._partitions[answer_topic] = len(await producer.partitions_for(answer_topic))
        return TopicPartition(answer_topic, partition % self._partitions[answer_topic])

    async def write(self, producer: AIOKafkaProducer, answers: Iterable[TopicAnswer]) -> None:
        """Return when all of them are with the brokers. Raises KafkaError."""
        by_target: dict[TopicPartition, list[TopicAnswer]] = defaultdict(list)
        for answer in answers:
            topic = self._options.dead_letters if answer.outcome == "dead_letter" else self._options.answers
            target = await self.target(producer, str(topic), answer.record.partition)
            by_target[target].append(answer)
        await asyncio.gather(
            *[
                await producer.send_batch(batch, target.topic, partition=target.partition)
                for target, group in by_target.items()
                for batch in _batches(producer, group)
            ]
        )


def _batches(producer: AIOKafkaProducer, answers: Iterable[TopicAnswer]) -> Iterator[BatchBuilder]:
    batch = producer.create_batch()
    for answer in answers:
        while not _fits(batch, answer):
            yield batch
            batch = producer.create_batch()
    yield batch


def _fits(batch: BatchBuilder, answer: TopicAnswer) -> bool:
    """Put it in, if it fits; into an empty batch anything does."""
    put = batch.append(key=answer.record.key, value=answer.value, timestamp=None, headers=answer.headers)
    return put is not None

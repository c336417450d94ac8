"""Answers on their way to the brokers: which partition of which topic, in batches as large as may be."""

import asyncio
from collections.abc import Awaitable, Iterable, Iterator, Sequence

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

    async def write(self, producer: AIOKafkaProducer, answers: Sequence[TopicAnswer]) -> None:
        """Return when all of them, to records of one partition, are with the brokers. Raises KafkaError."""
        dead = [answer for answer in answers if answer.outcome == "dead_letter"]
        living = [answer for answer in answers if answer.outcome != "dead_letter"] if dead else answers
        sent: list[Awaitable[None]] = []
        for topic, same in ((self._options.answers, living), (self._options.dead_letters, dead)):
            if same:
                target = await self.target(producer, str(topic), same[0].record.partition)
                for batch in _batches(producer, same):
                    sent.append(await producer.send_batch(batch, target.topic, partition=target.partition))
        await asyncio.gather(*sent)


def _batches(producer: AIOKafkaProducer, answers: Iterable[TopicAnswer]) -> Iterator[BatchBuilder]:
    batch = producer.create_batch()
    for answer in answers:
        put = {"timestamp": None, "key": answer.record.key, "value": answer.value, "headers": answer.headers}
        if batch.append(**put) is None:
            yield batch
            batch = producer.create_batch()
            batch.append(**put)  # into an empty one anything fits
    yield batch

"""Exactly once: answers and the place after their records in one transaction.

A producer for every partition of records, by a transactional id of its own: who takes a partition over fences
whoever had it before, which may not know yet that it lost it, and ends what that left unfinished.
"""

import asyncio
from collections.abc import Collection, Sequence

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from nearnorm.service.interfaces.kafka.answers.answers import TopicAnswer
from nearnorm.service.interfaces.kafka.clients import Clients
from nearnorm.service.interfaces.kafka.delivery.committed import positions
from nearnorm.service.interfaces.kafka.delivery.delivery import AnswersBySource, Positions, positions_after
from nearnorm.service.interfaces.kafka.delivery.writing import Writer
from nearnorm.service.interfaces.kafka.options import StreamOptions


class ExactlyOnce:
    def __init__(self, clients: Clients, options: StreamOptions, consumer: AIOKafkaConsumer) -> None:
        self._clients, self._options, self._consumer = clients, options, consumer
        self._writer = Writer(options)
        self._producers: dict[TopicPartition, AIOKafkaProducer] = {}

    async def close(self) -> None:
        producers, self._producers = self._producers, {}
        await asyncio.gather(*(producer.stop() for producer in producers.values()))

    async def take_over(self, partitions: Collection[TopicPartition]) -> Positions:
        await self.close()
        group = self._options.group
        for one in partitions:
            producer = self._clients.producer(f"{group}-{one.topic}-{one.partition}")
            self._producers[one] = producer
        await asyncio.gather(*(producer.start() for producer in self._producers.values()))
        return await positions(self._consumer, partitions)

    async def deliver(self, answers: AnswersBySource) -> None:
        await asyncio.gather(
            *(
                self._transact(source, answers[source], position)
                for source, position in positions_after(answers).items()
            )
        )

    async def settle(self) -> None:
        """Every transaction has done so."""

    async def _transact(self, source: TopicPartition, answers: Sequence[TopicAnswer], position: int) -> None:
        producer = self._producers[source]
        async with producer.transaction():
            await self._writer.write(producer, answers)
            await producer.send_offsets_to_transaction({source: position}, self._options.group)

"""At least once: answers first, and the place after their records a little later.

Who takes a partition over looks at the newest answers, and so knows which messages were answered and not
committed: these alone are answered again.
"""

import asyncio
import time
from collections.abc import Collection

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError

from nearnorm.service.interfaces.kafka.clients import Clients
from nearnorm.service.interfaces.kafka.delivery.answered import newest_answered
from nearnorm.service.interfaces.kafka.delivery.committed import positions
from nearnorm.service.interfaces.kafka.delivery.delivery import AnswersBySource, Positions, positions_after
from nearnorm.service.interfaces.kafka.delivery.writing import Writer
from nearnorm.service.interfaces.kafka.meters import StreamMeters
from nearnorm.service.interfaces.kafka.options import StreamOptions
from nearnorm.service.logs import log

COMMIT_SECONDS = 1.0
MOST_UNCOMMITTED = 4_000
"""Messages that are answered again after a kill, at most, and two batches."""


class AtLeastOnce:
    def __init__(
        self,
        clients: Clients,
        options: StreamOptions,
        consumer: AIOKafkaConsumer,
        meters: StreamMeters,
    ) -> None:
        self._clients, self._options, self._consumer = clients, options, consumer
        self._meters = meters
        self._writer = Writer(options)
        self._producer: AIOKafkaProducer = clients.producer()
        self._done: dict[TopicPartition, int] = {}
        self._count = 0
        self._committed_at = time.monotonic()
        self._before: dict[TopicPartition, int] = {}

    async def open(self) -> None:
        await self._producer.start()

    async def close(self) -> None:
        await self._producer.stop()

    async def take_over(self, partitions: Collection[TopicPartition]) -> Positions:
        found = await positions(self._consumer, partitions)
        targets = {
            await self._writer.target(self._producer, self._options.answers, one.partition)
            for one in partitions
        }
        self._before = await newest_answered(self._clients, targets)
        self._done, self._count = {}, 0
        return found

    async def deliver(self, answers: AnswersBySource) -> None:
        self._count_again(answers)
        await asyncio.gather(*(self._writer.write(self._producer, same) for same in answers.values()))
        self._done |= positions_after(answers)
        self._count += sum(map(len, answers.values()))
        if self._count >= MOST_UNCOMMITTED or time.monotonic() - self._committed_at >= COMMIT_SECONDS:
            await self.settle()

    async def settle(self) -> None:
        if not self._done:
            return
        done, self._done, self._count = self._done, {}, 0
        self._committed_at = time.monotonic()
        try:
            await self._consumer.commit(done)
        except (CommitFailedError, IllegalStateError) as error:
            log.warning("others took partitions over: their messages are answered again", problem=str(error))

    def _count_again(self, answers: AnswersBySource) -> None:
        for source in self._before.keys() & answers.keys():
            newest, same = self._before[source], answers[source]
            self._meters.again += sum(answer.record.offset <= newest for answer in same)
            if same[-1].record.offset >= newest:
                del self._before[source]

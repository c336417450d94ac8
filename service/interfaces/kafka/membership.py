"""One membership in the consumers' group: messages are taken, answered and delivered, partition by partition
in their order, as long as the partitions are ours.

Nothing waits for a batch to fill: what is there is taken. While some answers are on their way to the brokers
others gather, and no more than those is taken: whoever is too slow lets the rest lie with the brokers.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener

from nearnorm.service.interfaces.kafka.answers.answering import Answering
from nearnorm.service.interfaces.kafka.answers.answers import TopicAnswer
from nearnorm.service.interfaces.kafka.delivery.delivery import AnswerDelivery, by_source
from nearnorm.service.interfaces.kafka.delivery.sending import Sending
from nearnorm.service.interfaces.kafka.meters import PartitionMeter, StreamMeters

LOOK_MS = 250
"""How long to wait for a message before looking whether it is time to stop, or to commit."""
MOST_TAKEN = 1_000

Taken = dict[TopicPartition, list[ConsumerRecord]]


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """`keep_events` writes what is kept for review before answers that tell of it are out."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        answering: Answering,
        keep_events: Callable[[], Awaitable[None]],
        delivery: AnswerDelivery,
        meters: StreamMeters,
    ) -> None:
        self._consumer, self._answering, self._delivery = consumer, answering, delivery
        self._keep_events = keep_events
        self._meters = meters
        self._positions: dict[TopicPartition, int] = {}  # of the partitions that are ours
        self._sending = Sending(self._deliver)
        self._busy = asyncio.Lock()
        self._failure: Exception | None = None

    async def run(self, goes_on: Callable[[], bool]) -> None:
        """Raises KafkaError, and what else cannot be gone on with."""
        while goes_on():
            taken = await self._consumer.getmany(timeout_ms=LOOK_MS, max_records=MOST_TAKEN)
            if self._failure is not None:
                raise self._failure
            async with self._busy:
                if taken:
                    await self._answer(taken)
                else:
                    await self._sending.all_sent()
                    await self._delivery.settle()
        async with self._busy:
            await self._sending.all_sent()
            await self._delivery.settle()

    async def close(self) -> None:
        """What is on its way is not waited for."""
        await self._sending.stop()
        self._meters.partitions.clear()

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Others get them: what we took is answered and committed first."""
        async with self._busy:
            try:
                await self._sending.all_sent()
                await self._delivery.settle()
            except Exception as error:  # the client would only log it
                self._failure = error
            self._positions.clear()
            self._meters.partitions.clear()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        async with self._busy:
            self._meters.rebalances += 1
            try:
                positions = await self._delivery.take_over(assigned)
                for one, position in positions.items():
                    self._consumer.seek(one, position)
                    self._meters.partitions[one] = PartitionMeter(position)
                self._positions |= positions
            except Exception as error:  # the client would only log it
                self._failure = error

    async def _answer(self, taken: Taken) -> None:
        records: list[ConsumerRecord] = []
        for partition, found in taken.items():
            position = self._positions.get(partition)
            if position is None or found[-1].offset < position:
                continue
            if found[0].offset < position:  # it was fetched before the partition was taken over
                found = [record for record in found if record.offset >= position]
            self._positions[partition] = found[-1].offset + 1
            self._meters.begun(partition, found)
            records += found
        async for answers in self._answering.answer(records):
            await self._sending.put(answers, more=True)
        await self._sending.put([])

    async def _deliver(self, answers: Sequence[TopicAnswer]) -> None:
        await self._keep_events()
        sorted_out = by_source(answers)
        for source, same in sorted_out.items():
            self._meters.handed_over(source, len(same))
        await self._delivery.deliver(sorted_out)
        for source, same in sorted_out.items():
            self._meters.answered(source, [answer.record for answer in same])
        self._meters.messages.update(answer.outcome for answer in answers)

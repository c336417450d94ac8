"""How answers and the place in the topic go together: what both ways of delivery have to do."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from aiokafka import TopicPartition

from nearnorm.service.interfaces.kafka.answers.answers import TopicAnswer

Positions = Mapping[TopicPartition, int]
"""By partition the offset of the message that comes next."""


class AnswerDelivery(Protocol):
    async def close(self) -> None:
        """Nothing is delivered any more."""

    async def take_over(self, partitions: Collection[TopicPartition]) -> Positions:
        """Partitions are ours from now on: where each of them goes on. Raises KafkaError."""

    async def deliver(self, answers: Sequence[TopicAnswer], positions: Positions) -> None:
        """Return when the answers are with the brokers. Raises KafkaError."""

    async def settle(self) -> None:
        """Commit what is delivered, before others take it over or when it is time."""

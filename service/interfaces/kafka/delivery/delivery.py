"""How answers and the place in the topic go together: what both ways of delivery have to do."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from aiokafka import TopicPartition

from nearnorm.service.interfaces.kafka.answers.answers import TopicAnswer

Positions = Mapping[TopicPartition, int]
"""By partition the offset of the message that comes next."""
AnswersBySource = Mapping[TopicPartition, Sequence[TopicAnswer]]
"""By partition of records, in their order; none is empty."""


def by_source(answers: Iterable[TopicAnswer]) -> AnswersBySource:
    """Answers to one topic's records."""
    found: dict[int, list[TopicAnswer]] = defaultdict(list)
    for answer in answers:
        found[answer.record.partition].append(answer)
    return {TopicPartition(same[0].record.topic, number): same for number, same in found.items()}


def positions_after(answers: AnswersBySource) -> Positions:
    return {source: same[-1].record.offset + 1 for source, same in answers.items()}


class AnswerDelivery(Protocol):
    async def close(self) -> None:
        """Nothing is delivered any more."""

    async def take_over(self, partitions: Collection[TopicPartition]) -> Positions:
        """Partitions are ours from now on: where each of them goes on. Raises KafkaError."""

    async def deliver(self, answers: AnswersBySource) -> None:
        """Return when the answers are with the brokers. Raises KafkaError."""

    async def settle(self) -> None:
        """Commit what is delivered, before others take it over or when it is time."""

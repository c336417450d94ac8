"""Answers on their way: which go together, in which order, and what becomes of them when brokers fail."""

import asyncio
from collections.abc import Sequence

import pytest
from aiokafka import ConsumerRecord

from nearnorm.service.interfaces.kafka.answers.answers import TopicAnswer
from nearnorm.service.interfaces.kafka.delivery import sending
from nearnorm.service.interfaces.kafka.delivery.sending import Sending


def answers(*offsets: int) -> list[TopicAnswer]:
    return [
        TopicAnswer(ConsumerRecord("records", 0, offset, 0, 0, None, b"", None, 0, 0, ()), b"{}", [])
        for offset in offsets
    ]


class Brokers:
    """What they were sent, lot by lot, each taken when it is `let` through."""

    def __init__(self) -> None:
        self.lots: list[list[int]] = []
        self.let = asyncio.Semaphore(0)
        self.problem: Exception | None = None

    async def deliver(self, lot: Sequence[TopicAnswer]) -> None:
        self.lots.append([answer.record.offset for answer in lot])
        await self.let.acquire()
        if self.problem is not None:
            raise self.problem


def test_what_gathers_while_brokers_are_busy_goes_together_in_its_order() -> None:
    async def run() -> list[list[int]]:
        brokers = Brokers()
        sent = Sending(brokers.deliver)
        await sent.put(answers(0))
        await asyncio.sleep(0)
        await sent.put(answers(1, 2))
        await sent.put(answers(3))
        brokers.let.release()
        brokers.let.release()
        await sent.all_sent()
        return brokers.lots

    assert asyncio.run(run()) == [[0], [1, 2, 3]]


def test_answers_of_what_was_taken_together_go_together_unless_some_are_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sending, "ENOUGH", 3)

    async def run() -> list[list[int]]:
        brokers = Brokers()
        sent = Sending(brokers.deliver)
        await sent.put(answers(0, 1), more=True)
        await asyncio.sleep(0)
        assert brokers.lots == []
        await sent.put(answers(2), more=True)
        await asyncio.sleep(0)
        assert brokers.lots == [[0, 1, 2]]
        await sent.put(answers(3), more=True)
        brokers.let.release()
        await sent.all_sent()
        assert brokers.lots == [[0, 1, 2]]
        await sent.put([])
        brokers.let.release()
        await sent.all_sent()
        return brokers.lots

    assert asyncio.run(run()) == [[0, 1, 2], [3]]


def test_who_has_gathered_too_much_waits_until_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "MOST_GATHERED", 2)

    async def run() -> None:
        brokers = Brokers()
        sent = Sending(brokers.deliver)
        await sent.put(answers(0))
        await asyncio.sleep(0)
        await sent.put(answers(1, 2))
        waiting = asyncio.create_task(sent.put(answers(3)))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        brokers.let.release()
        await waiting
        assert brokers.lots == [[0], [1, 2]]
        await sent.stop()

    asyncio.run(run())


@pytest.mark.parametrize("is_full", [False, True])
def test_what_goes_wrong_is_raised_where_more_is_put(monkeypatch: pytest.MonkeyPatch, is_full: bool) -> None:
    monkeypatch.setattr(sending, "MOST_GATHERED", 1 if is_full else 100)

    async def run() -> None:
        brokers = Brokers()
        brokers.problem = ConnectionError("gone")
        sent = Sending(brokers.deliver)
        await sent.put(answers(0))
        await asyncio.sleep(0)
        await sent.put(answers(1))
        brokers.let.release()
        if not is_full:
            await asyncio.sleep(0.01)
        with pytest.raises(ConnectionError, match="gone"):
            await sent.put(answers(2))

    asyncio.run(run())

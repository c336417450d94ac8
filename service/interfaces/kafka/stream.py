"""The streamer: memberships one after the other, verdicts beside them, and an eye on the brokers."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

from nearnorm.models.errors import ConfigError, NearnormError
from nearnorm.service.background import Background
from nearnorm.service.errors import LedgerUnavailable, ServiceError
from nearnorm.service.interfaces.kafka.answers.answering import Answering
from nearnorm.service.interfaces.kafka.clients import Clients
from nearnorm.service.interfaces.kafka.delivery.at_least_once import AtLeastOnce
from nearnorm.service.interfaces.kafka.delivery.delivery import AnswerDelivery
from nearnorm.service.interfaces.kafka.delivery.exactly_once import ExactlyOnce
from nearnorm.service.interfaces.kafka.membership import Membership
from nearnorm.service.interfaces.kafka.messages.schemas import Schemas
from nearnorm.service.interfaces.kafka.meters import StreamMeters
from nearnorm.service.interfaces.kafka.options import StreamOptions
from nearnorm.service.interfaces.kafka.verdicts import TASK as TAKING_VERDICTS
from nearnorm.service.interfaces.kafka.verdicts import TopicVerdicts
from nearnorm.service.ledger.seen_lines import EVERY_LINE
from nearnorm.service.logs import log
from nearnorm.service.replica import Replica
from nearnorm.service.settings import Settings

ANSWERING = "answering the topic"
WATCHING = "watching the brokers"
START_SECONDS = 15.0
RESTART_SECONDS = 1.0
WATCH_SECONDS = 1.0
PATIENCE_SECONDS = 5.0


class Stream:
    """From `start` to `close`. `meters` are Prometheus's."""

    def __init__(self, settings: Settings, options: StreamOptions, replica: Replica) -> None:
        """Raises ConfigError for settings that cannot be used."""
        self._options, self._replica = options, replica
        self._clients = Clients(settings, options.brokers)
        self._schemas = Schemas(settings.schema_registry)
        self._background: Background = replica.services.background
        self._stop_seconds = settings.stop_seconds
        self.meters = StreamMeters()
        self._stopping = False
        self._consumer: AIOKafkaConsumer | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Raises NearnormError where there is no broker or no such topic, or no transactions that were asked
        for."""
        await self._check_model()
        self.meters.exactly_once = await self._looked_around()
        log.info("streaming", topic=self._options.records, exactly_once=self.meters.exactly_once)
        work: list[Coroutine[None, None, None]] = [
            self._over_and_over(ANSWERING, self._membership),
            self._watch(),
        ]
        if self._options.verdicts:
            work.append(self._over_and_over(TAKING_VERDICTS, self._take_verdicts))
        self._tasks = [asyncio.create_task(one) for one in work]

    async def close(self) -> None:
        """What was taken is answered and committed first."""
        self._stopping = True
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._stop_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._schemas.close()

    def _goes_on(self) -> bool:
        return not self._stopping

    async def _check_model(self) -> None:
        registry = self._replica.registry
        try:
            await registry.bring(self._options.model, EVERY_LINE)
        except ServiceError as error:
            reasons = "; ".join(registry.problems(EVERY_LINE))
            raise NearnormError(
                f"no model {self._options.model!r} serves: {reasons or error.detail}"
            ) from None

    async def _looked_around(self) -> bool:
        """Whether answers go in transactions."""
        options = self._options
        there = await self._topics()
        for topic in filter(None, (options.records, options.answers, options.verdicts, options.dead_letters)):
            if topic not in there:
                raise ConfigError(f"the brokers have no topic {topic!r}: create it")
        if options.delivery == "at-least-once":
            return False
        problem = await self._missing_transactions()
        if problem and options.delivery == "exactly-once":
            raise NearnormError(f"the brokers have no transactions, so nothing is exactly once: {problem}")
        if problem:
            log.warning("no transactions: answers come at least once", problem=problem)
        return not problem

    async def _topics(self) -> set[str]:
        """Without asking for one by its name, which many brokers would create."""
        await self._clients.knock()
        admin = self._clients.admin()
        try:
            await asyncio.wait_for(admin.start(), START_SECONDS)
            return set(await asyncio.wait_for(admin.list_topics(), START_SECONDS))
        except (KafkaError, TimeoutError) as error:
            raise NearnormError(f"no broker answers at {self._options.brokers}: {error}") from None
        finally:
            await admin.close()

    async def _missing_transactions(self) -> str | None:
        """Why there are none; None: there are."""
        producer = self._clients.producer(f"{self._options.group}-probe-{uuid.uuid4()}")
        try:
            await asyncio.wait_for(producer.start(), START_SECONDS)
        except (KafkaError, TimeoutError) as error:
            return str(error) or type(error).__name__
        finally:
            await producer.stop()
        return None

    async def _over_and_over(self, task: str, work: Callable[[], Awaitable[None]]) -> None:
        """Until it is time to stop; after a failure from what is committed."""
        while not self._stopping:
            try:
                await work()
            except KafkaError as error:
                self._background.waits(task, str(error))
                log.warning("begun again", task=task, problem=str(error))
            except Exception as error:  # told, and tried again
                self._background.failed(task, error)
            else:
                continue
            await asyncio.sleep(RESTART_SECONDS)

    async def _membership(self) -> None:
        options = self._options
        consumer = self._clients.consumer(group=options.group, instance=options.instance)
        delivery = await self._delivery(consumer)
        answering = Answering(self._replica, options, self._schemas, self.meters)
        membership = Membership(consumer, answering, self._keep_events, delivery, self.meters)
        try:
            await consumer.start()
            consumer.subscribe([options.records], listener=membership)
            self._consumer = consumer
            self._background.works(ANSWERING)
            await membership.run(self._goes_on)
        finally:
            self._consumer = None
            await membership.close()
            await consumer.stop()
            await delivery.close()

    async def _delivery(self, consumer: AIOKafkaConsumer) -> AnswerDelivery:
        if self.meters.exactly_once:
            return ExactlyOnce(self._clients, self._options, consumer)
        found = AtLeastOnce(self._clients, self._options, consumer, self.meters)
        await found.open()
        return found

    async def _keep_events(self) -> None:
        """Whoever reads an answer can label its event. While the ledger is out of reach events wait in
        memory, and answers do not wait for them."""
        kept = self._replica.services.log
        if not kept.unwritten:
            return
        try:
            await asyncio.to_thread(kept.flush)
        except LedgerUnavailable:
            return  # the log's own thread tells

    async def _take_verdicts(self) -> None:
        options = self._options
        consumer = self._clients.consumer(
            str(options.verdicts), group=f"{options.group}-verdicts", instance=options.instance
        )
        producer: AIOKafkaProducer = self._clients.producer()
        try:
            await producer.start()
            await consumer.start()
            self._background.works(TAKING_VERDICTS)
            verdicts = TopicVerdicts(self._replica, options, self._schemas, self.meters)
            await verdicts.run(consumer, producer, self._goes_on)
        finally:
            await consumer.stop()
            await producer.stop()

    async def _watch(self) -> None:
        """How far the topic goes, and whether the brokers answer."""
        while not self._stopping:
            await asyncio.sleep(WATCH_SECONDS)
            consumer, began = self._consumer, time.monotonic()
            if consumer is None or not (partitions := list(self.meters.partitions)):
                continue
            try:
                ends = await asyncio.wait_for(consumer.end_offsets(partitions), PATIENCE_SECONDS)
            except (KafkaError, TimeoutError) as error:
                waited = f"{time.monotonic() - began:.0f} s without an answer of the brokers"
                self._background.waits(WATCHING, str(error) or waited)
                continue
            self._background.works(WATCHING)
            for partition, end in ends.items():
                if meter := self.meters.partitions.get(partition):
                    meter.end = end

"""TopicVerdicts that come back by a topic, as feedback: stored once, however often a message is read.

A message is one label, as in the `labels` of POST /feedback, or a whole body of it. It names an answer by its
`event_id`, or a record.
"""

import asyncio
import time
from collections.abc import Callable, Mapping

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from nearnorm.service import labelling
from nearnorm.service.access.keyring import Caller
from nearnorm.service.background import Background
from nearnorm.service.errors import (
    InvalidRequest,
    LedgerUnavailable,
    MalformedBody,
    ServiceError,
    TooManyLabels,
)
from nearnorm.service.feedback.submission.request import Submission, read
from nearnorm.service.interfaces.kafka.answers.answers import told
from nearnorm.service.interfaces.kafka.answers.refusals import dead_letter
from nearnorm.service.interfaces.kafka.delivery.writing import Writer
from nearnorm.service.interfaces.kafka.messages.names import message_name
from nearnorm.service.interfaces.kafka.messages.schemas import MAGIC, RegistryUnavailable, Schemas
from nearnorm.service.interfaces.kafka.meters import StreamMeters
from nearnorm.service.interfaces.kafka.options import StreamOptions
from nearnorm.service.logs import log
from nearnorm.service.replica import Replica

TASK = "taking verdicts"
LOOK_MS = 250
RETRY_SECONDS = 1.0
UNKNOWN_EVENT = ":unknown-event"
PATIENCE_MS = 5_000
"""How long a verdict may be ahead of the event that it names, which another streamer is about to write."""


class TopicVerdicts:
    """`writer` and `producer` are for dead letters. The caller is no API key's name: none has a colon."""

    def __init__(
        self, replica: Replica, options: StreamOptions, schemas: Schemas, meters: StreamMeters
    ) -> None:
        self._services, self._registry = replica.services, replica.registry
        self._background: Background = replica.services.background
        self._options, self._schemas, self._meters = options, schemas, meters
        self._caller = Caller(f"stream:{options.verdicts}", frozenset({"feedback"}))
        self._writer = Writer(options)

    async def run(
        self, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, goes_on: Callable[[], bool]
    ) -> None:
        """Raises KafkaError."""
        while goes_on():
            taken: Mapping[TopicPartition, list[ConsumerRecord]]
            taken = await consumer.getmany(timeout_ms=LOOK_MS, max_records=100)
            for partition, records in taken.items():
                for record in records:
                    if not await self.is_done_with(record, producer, goes_on):
                        return
                    await consumer.commit({partition: record.offset + 1})

    async def is_done_with(
        self, record: ConsumerRecord, producer: AIOKafkaProducer, goes_on: Callable[[], bool]
    ) -> bool:
        """Store what it says, or refuse it; what cannot be done now is done later, if there is a later."""
        while goes_on():
            try:
                await labelling.stored(self._services, self._registry, await self._read(record))
            except (LedgerUnavailable, TooManyLabels, RegistryUnavailable) as error:
                self._background.waits(TASK, error.detail if isinstance(error, ServiceError) else str(error))
            except ServiceError as error:
                if not _is_early(record, error):
                    await self._refuse(record, error, producer)
                    return True
            else:
                self._background.works(TASK)
                self._meters.verdicts["stored"] += 1
                return True
            await asyncio.sleep(RETRY_SECONDS)
        return False

    async def _read(self, record: ConsumerRecord) -> Submission:
        """Raises ServiceError, RegistryUnavailable."""
        body = record.value or b""
        found = await self._schemas.value(body) if body.startswith(MAGIC) else body
        document = decoded(found) if isinstance(found, bytes) else found
        name = message_name(record.topic, record.partition, record.offset)
        # with its time: a topic that was made anew counts its messages from the first again
        return read(as_request(document, self._options.model), self._caller, f"{name}@{record.timestamp}")

    async def _refuse(self, record: ConsumerRecord, error: ServiceError, producer: AIOKafkaProducer) -> None:
        self._meters.verdicts["refused"] += 1
        log.warning("a verdict is refused", topic=record.topic, offset=record.offset, problem=error.detail)
        if self._options.dead_letters:
            await self._writer.write(producer, [dead_letter(record, told(error))])


def decoded(text: bytes) -> object:
    """Raises MalformedBody."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBody(f"the message is no JSON: {error}") from None


def as_request(document: object, model: str) -> bytes:
    """The body of a POST /feedback that says the same. Raises InvalidRequest."""
    if not isinstance(document, dict):
        raise InvalidRequest("send one label as an object, or an object of `labels`")
    body = document if "labels" in document else {"labels": [document]}
    if "preview" in body:
        raise InvalidRequest(
            "`preview` is for POST /feedback: a topic stores what it is sent", field="preview"
        )
    return msgspec.json.encode({"model": model} | body)


def _is_early(record: ConsumerRecord, error: ServiceError) -> bool:
    """Whether the event that it names may still be on its way to the ledger."""
    unknown = [problem for problem in error.errors or () if str(problem["type"]).endswith(UNKNOWN_EVENT)]
    return bool(unknown) and time.time() * 1000 - record.timestamp < PATIENCE_MS

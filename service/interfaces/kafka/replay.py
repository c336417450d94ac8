"""`nearnorm replay --in --answered`: a topic's records through another version, beside the answers that they
got. Nothing is committed and nothing is written."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec
import numpy as np
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from msgspec import Struct
from numpy.typing import NDArray

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.errors import ConfigError, DataError, NearnormError
from nearnorm.service import counting
from nearnorm.service.errors import ServiceError
from nearnorm.service.feedback.verdict_cache import VerdictCache
from nearnorm.service.interfaces.kafka.answers.answers import EVENT_ID
from nearnorm.service.interfaces.kafka.clients import Clients
from nearnorm.service.interfaces.kafka.messages import messages
from nearnorm.service.interfaces.kafka.messages.counts import read_rows
from nearnorm.service.interfaces.kafka.messages.groups import grouped
from nearnorm.service.interfaces.kafka.messages.messages import ARROW, MessageRows
from nearnorm.service.interfaces.kafka.messages.schemas import Held, RegistryUnavailable, Schemas
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.records.limits import most_rows
from nearnorm.service.retraining.rescoring.replay import OldAnswers, ReplayedRows, rescorer
from nearnorm.service.settings import Settings

PATIENCE_SECONDS = 15.0
_LOOK_MS = 1_000
LOOK_BACK = 10_000
"""Answers that are looked at in each partition beyond as many as there are records: some were written twice,
others are of later records, and of other topics perhaps."""
TOGETHER = 200
"""Messages whose rows are read and scored at once."""


class ReplayTopics(Struct, frozen=True):
    """`records` were answered on `answers`."""

    brokers: str
    records: str
    answers: str


class _Answer(NamedTuple):
    version: str
    score: float
    percentile: float
    anomaly: bool
    record_id: str | None


class _Model(Struct):
    version: str


class _Result(Struct):
    """A row's; without a score where it has an error."""

    event_id: str | None = None
    score: float | None = None
    percentile: float = 0.0
    anomaly: bool = False
    id: str | int | None = None


class _Said(_Result, kw_only=True):
    """A message's: of one row, or of its `results`."""

    model: _Model
    results: list[_Result] | None = None


class _Found:
    """Rows that were answered and fit, as they come."""

    def __init__(self) -> None:
        self.event_ids: list[str] = []
        self.answers: list[_Answer] = []
        self.verdicts: list[str | None] = []
        self.score: list[NDArray[Any]] = []
        self.percentile: list[NDArray[Any]] = []
        self.anomaly: list[NDArray[Any]] = []
        self.unfit = 0


def replay_topic(
    ledger: Ledger, settings: Settings, version: str, topics: ReplayTopics, model: str, limit: int
) -> ReplayedRows:
    """The newest messages of a topic, about `limit` of them. Raises NearnormError."""
    store = settings.open_store()
    bundle = store.open(store.resolve(version))
    return asyncio.run(_replayed(ledger, settings, bundle, topics, model, limit))


async def _replayed(
    ledger: Ledger, settings: Settings, bundle: Bundle, topics: ReplayTopics, model: str, limit: int
) -> ReplayedRows:
    clients, schemas = Clients(settings, topics.brokers), Schemas(settings.schema_registry)
    try:
        records = await _newest(clients, topics.records, limit)
        if not records:
            raise DataError(f"the topic {topics.records!r} has no message")
        answers = await _answers(clients, topics.answers, len(records) + LOOK_BACK)
        return await _compared(ledger, settings, bundle, model, schemas, records, answers)
    except (KafkaError, TimeoutError) as error:
        raise NearnormError(f"no answer of the brokers at {topics.brokers}: {error}") from None
    finally:
        await schemas.close()


async def _compared(
    ledger: Ledger,
    settings: Settings,
    bundle: Bundle,
    model: str,
    schemas: Schemas,
    records: Sequence[ConsumerRecord],
    answers: Mapping[str, _Answer],
) -> ReplayedRows:
    features = bundle.manifest.core.features
    encoder = Encoder(features, most_rows(settings.max_rows, len(features.scored)))
    verdicts = VerdictCache()
    with ledger.read() as connection:
        verdicts.refresh(connection, model, anew=True)
    verdicts.prepare(model, features)
    again = rescorer(ledger, settings, bundle, model, encoder.max_rows)
    found = _Found()
    for start in range(0, len(records), TOGETHER):
        read: list[MessageRows] = []
        for record in records[start : start + TOGETHER]:
            try:
                held = await _held(ledger, bundle, model, schemas, record.value)
                read.append(messages.read(record, held, encoder))
            except ServiceError:
                found.unfit += 1
            except RegistryUnavailable as error:
                raise NearnormError(str(error)) from None
        for group in grouped(read, encoder):
            found.unfit += len(group.encoded.errors)
            named = [group.event_id(place) for place in group.encoded.places()]
            which = [row for row, name in enumerate(named) if name in answers]
            if not which:
                continue
            standing = verdicts.of(model).find(features, group.encoded)
            score, percentile, anomaly = again.judge_rows(group.encoded.rows.take(which))
            found.event_ids += [named[row] for row in which]
            found.answers += [answers[named[row]] for row in which]
            said = [standing[row].verdict if row in standing else None for row in which]
            found.verdicts += [one if one in ("anomaly", "normal") else None for one in said]
            found.score.append(score)
            found.percentile.append(percentile)
            found.anomaly.append(anomaly)
    if not found.answers:
        raise DataError("none of the newest messages has an answer there: is it the topic of their answers?")
    old = found.answers
    return ReplayedRows(
        bundle.manifest.version,
        OldAnswers(
            found.event_ids,
            [one.record_id for one in old],
            [one.version for one in old],
            np.array([one.score for one in old]),
            np.array([one.percentile for one in old]),
            np.array([one.anomaly for one in old], bool),
            np.ones(len(old)),
            found.verdicts,
        ),
        np.concatenate(found.score).astype(np.float64),
        np.concatenate(found.percentile),
        np.concatenate(found.anomaly),
        found.unfit,
    )


async def _held(ledger: Ledger, bundle: Bundle, model: str, schemas: Schemas, value: bytes | None) -> Held:
    """What a message holds, with the numbers that this version counts over windows, as far as they are kept;
    nothing is counted. Raises ServiceError, RegistryUnavailable."""
    aggregates = bundle.manifest.core.aggregates
    if aggregates is None:
        return await schemas.opened(value)
    rows = await read_rows(value, aggregates, schemas)
    with ledger.read() as connection:
        numbers = counting.look_up(connection, model, aggregates, rows.events)
    return rows.with_numbers(aggregates, numbers)


async def _newest(clients: Clients, topic: str, limit: int) -> list[ConsumerRecord]:
    """About so many, from all partitions alike, up to now."""
    async with _reader(clients, topic) as (consumer, partitions):
        each = -(-limit // len(partitions))
        return [record async for record in _last(consumer, partitions, each)]


async def _answers(clients: Clients, topic: str, most: int) -> dict[str, _Answer]:
    """Of each partition so many, by event_id; the first where one was written twice."""
    answers: dict[str, _Answer] = {}
    async with _reader(clients, topic) as (consumer, partitions):
        async for record in _last(consumer, partitions, most):
            for event_id, answer in _rows(record):
                answers.setdefault(event_id, answer)
    return answers


@asynccontextmanager
async def _reader(
    clients: Clients, topic: str
) -> AsyncIterator[tuple[AIOKafkaConsumer, list[TopicPartition]]]:
    """Of all partitions. Raises ConfigError where there is no such topic, NearnormError without a broker."""
    await clients.knock()
    admin = clients.admin()
    try:
        await asyncio.wait_for(admin.start(), PATIENCE_SECONDS)
        if topic not in await admin.list_topics():
            raise ConfigError(f"the brokers have no topic {topic!r}")
        [told] = await admin.describe_topics([topic])
    finally:
        await admin.close()
    partitions = [TopicPartition(topic, one["partition"]) for one in told["partitions"]]
    consumer = clients.consumer(group=None)
    try:
        await consumer.start()
        consumer.assign(partitions)
        yield consumer, partitions
    finally:
        await consumer.stop()


async def _last(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition], most: int
) -> AsyncIterator[ConsumerRecord]:
    """The newest `most` messages of each partition; what comes meanwhile is not waited for."""
    begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
    for one in partitions:
        consumer.seek(one, max(begins[one], ends[one] - most))
    left = [one for one in ends if begins[one] < ends[one]]
    while left := [one for one in left if await consumer.position(one) < ends[one]]:
        for records in (await consumer.getmany(timeout_ms=_LOOK_MS)).values():
            for record in records:  # all of the last batch: a broker (tansu) takes its first for the end
                yield record


def _rows(record: ConsumerRecord) -> Iterator[tuple[str, _Answer]]:
    """What an answer says of each row that has a score; of what others wrote there, nothing."""
    value, headers = record.value or b"", dict(record.headers)
    name = headers.get(EVENT_ID, b"").decode(errors="replace")
    if value.startswith(ARROW):
        yield from _arrow_rows(value)
        return
    try:
        said = msgspec.json.decode(value, type=_Said)
    except msgspec.DecodeError:
        return
    for one in [said] if said.results is None else said.results:
        if one.score is not None:
            answer = _Answer(said.model.version, one.score, one.percentile, one.anomaly, _text(one.id))
            yield one.event_id or name, answer


def _arrow_rows(value: bytes) -> Iterator[tuple[str, _Answer]]:
    import pyarrow as pa

    try:
        with pa.ipc.open_stream(value) as stream:
            table = stream.read_all()
    except pa.ArrowException:
        return
    version = (table.schema.metadata or {}).get(b"version", b"").decode()
    for row in table.to_pylist():
        if row.get("event_id") and row.get("score") is not None:
            answer = _Answer(version, row["score"], row["percentile"], row["anomaly"], _text(row.get("id")))
            yield row["event_id"], answer


def _text(given: object) -> str | None:
    return None if given is None else str(given)

"""Messages -> answers, by the model that serves now: read, scored and remembered as /score does it."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence

from aiokafka import ConsumerRecord
from msgspec import Struct

from nearnorm.service.background import Background
from nearnorm.service.errors import ServiceError
from nearnorm.service.interfaces.kafka.answers.answers import Refuse, TopicAnswer, answers, told
from nearnorm.service.interfaces.kafka.answers.refusals import dead_letter, error_answer
from nearnorm.service.interfaces.kafka.messages import messages
from nearnorm.service.interfaces.kafka.messages.counts import TopicCounts, Value
from nearnorm.service.interfaces.kafka.messages.groups import MessageGroup, grouped
from nearnorm.service.interfaces.kafka.messages.messages import MessageRows
from nearnorm.service.interfaces.kafka.messages.schemas import MAGIC, Held, Schemas, when_it_answers
from nearnorm.service.interfaces.kafka.meters import StreamMeters
from nearnorm.service.interfaces.kafka.options import StreamOptions
from nearnorm.service.ledger.seen_lines import EVERY_LINE
from nearnorm.service.logs import log
from nearnorm.service.records.encoded import Encoded, gathered
from nearnorm.service.replica import Replica
from nearnorm.service.scoring.rows import remembered, scored_rows, whole
from nearnorm.service.serving.memory.loader import INLINE_ROWS
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.serving.results import Scores

MOST_FIELDS_TOLD = 100
PAUSE_ROWS = 64
"""Rows that are read before others have their turn: answers on their way, a heartbeat."""


class _ReadBatch(Struct, eq=False):
    """What was read for one `model`, and what could not be."""

    model: LoadedModel
    messages: list[MessageRows] = []
    refused: list[TopicAnswer] = []
    rows: int = 0


class Answering:
    """One streamer's. `caller` is whose rows they are in the event log and in the batcher's turns."""

    def __init__(
        self, replica: Replica, options: StreamOptions, schemas: Schemas, meters: StreamMeters
    ) -> None:
        self._registry = replica.registry
        self._memory = replica.memory
        self._background: Background = replica.services.background
        self._model_name = options.model
        self._schemas = schemas
        self._counts = TopicCounts(replica.services.ledger, self._background, schemas, options.model, meters)
        self._caller = f"stream:{options.records}"
        self._refuse: Refuse = dead_letter if options.dead_letters else error_answer
        self._told: set[str] = set()

    async def answer(self, records: Sequence[ConsumerRecord]) -> AsyncIterator[list[TopicAnswer]]:
        """Answers of consecutive records, in their order, as many at once as make a batch."""
        async for batch in self._batches(records):
            yield await self._answers(batch)

    async def _batches(self, records: Sequence[ConsumerRecord]) -> AsyncIterator[_ReadBatch]:
        batch = _ReadBatch(await self._registry.bring(self._model_name, EVERY_LINE))
        values: Sequence[Value] = [record.value for record in records]
        if (aggregates := batch.model.manifest.core.aggregates) is not None:
            values = await self._counts.values(records, aggregates)
        rows_since = 0
        for record, value in zip(records, values, strict=True):
            try:
                held: Held
                if isinstance(value, bytes) and not value.startswith(MAGIC):
                    held = value
                else:
                    held = await self._opened(value)
                read = messages.read(record, held, batch.model.encoder)
            except ServiceError as problem:
                batch.refused.append(self._refuse(record, told(problem)))
                continue
            batch.messages.append(read)
            batch.rows += read.count
            rows_since += read.count
            if batch.rows + read.count > INLINE_ROWS:  # with one more another thread would score them
                yield batch
                batch = _ReadBatch(await self._registry.bring(self._model_name, EVERY_LINE))
            if rows_since >= PAUSE_ROWS:
                rows_since = 0
                await asyncio.sleep(0)
        if batch.messages or batch.refused:
            yield batch

    async def _opened(self, value: Value) -> Held:
        """What is in a registry's wire format. Raises ServiceError; waits for the registry."""
        if isinstance(value, ServiceError):
            raise value
        return await when_it_answers(self._background, lambda: self._schemas.opened(value))

    async def _answers(self, batch: _ReadBatch) -> list[TopicAnswer]:
        groups = grouped(batch.messages, batch.model.encoder) if batch.messages else []
        found = batch.refused + await self._scored(batch.model, groups) if groups else batch.refused
        if len(groups) > 1 or batch.refused:
            found.sort(key=lambda answer: answer.record.offset)  # their order within each partition
        return found

    async def _scored(self, model: LoadedModel, groups: Sequence[MessageGroup]) -> list[TopicAnswer]:
        rows = gathered([group.encoded.rows for group in groups])
        together = Encoded(rows, len(rows))
        scores = whole(together, await scored_rows(model, together, self._caller, None))
        found: list[TopicAnswer] = []
        start = 0
        for group in groups:
            count = len(group.encoded.rows)
            own = scores.cut(start, start + count) if scores is not None and count else None
            start += count
            found += self._of_group(model, group, own)
        return found

    def _of_group(
        self, model: LoadedModel, group: MessageGroup, scores: Scores | None
    ) -> Iterator[TopicAnswer]:
        encoded = group.encoded
        model.meter.row_errors += len(encoded.errors)  # no quota: it reads as fast as it can answer
        parts = [] if scores is None else [scores]
        noted = remembered(self._memory, model, encoded, scores, parts, self._caller, group.event_id)
        self._tell_unknown(group)
        return answers(model.facts, group, scores, noted, self._refuse)

    def _tell_unknown(self, group: MessageGroup) -> None:
        """Fields that the model does not know are told once each."""
        for warning in group.encoded.warnings:
            if warning not in self._told and len(self._told) < MOST_FIELDS_TOLD:
                self._told.add(warning)
                log.warning("a message has what the model does not know", warning=warning)

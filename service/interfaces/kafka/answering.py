"""Messages -> answers, by the model that serves now: read, scored and remembered as /score does it."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from aiokafka import ConsumerRecord

from nearnorm.service.background import Background
from nearnorm.service.errors import ServiceError
from nearnorm.service.interfaces.kafka import messages
from nearnorm.service.interfaces.kafka.answers import Refuse, TopicAnswer, answers, told
from nearnorm.service.interfaces.kafka.counts import TopicCounts, Value
from nearnorm.service.interfaces.kafka.groups import MessageGroup, grouped
from nearnorm.service.interfaces.kafka.messages import MessageRows
from nearnorm.service.interfaces.kafka.meters import StreamMeters
from nearnorm.service.interfaces.kafka.options import StreamOptions
from nearnorm.service.interfaces.kafka.refusals import dead_letter, error_answer
from nearnorm.service.interfaces.kafka.schemas import Schemas, when_it_answers
from nearnorm.service.ledger.seen_lines import EVERY_LINE
from nearnorm.service.logs import log
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.replica import Replica
from nearnorm.service.scoring.rows import remembered, scored_rows, whole
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.serving.registry import BATCH_ROWS

MOST_FIELDS_TOLD = 100


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
        model = await self._registry.bring(self._model_name, EVERY_LINE)
        values: Sequence[Value] = [record.value for record in records]
        if (aggregates := model.manifest.core.aggregates) is not None:
            values = await self._counts.values(records, aggregates)
        found: list[TopicAnswer] = []
        waiting: list[MessageRows] = []
        rows = 0
        for record, value in zip(records, values, strict=True):
            try:
                waiting.append(await self._read(record, value, model.encoder))
            except ServiceError as problem:
                found.append(self._refuse(record, told(problem)))
            else:
                rows += waiting[-1].count
            if rows >= BATCH_ROWS:
                yield _in_order(found + await self._scored(model, waiting))
                model = await self._registry.bring(self._model_name, EVERY_LINE)
                found, waiting, rows = [], [], 0
        if waiting:
            found += await self._scored(model, waiting)
        if found:
            yield _in_order(found)

    async def _read(self, record: ConsumerRecord, value: Value, encoder: Encoder) -> MessageRows:
        """Raises ServiceError for a message that cannot be read; waits for the registry."""
        if isinstance(value, ServiceError):
            raise value
        return await when_it_answers(
            self._background, lambda: messages.read(record, value, encoder, self._schemas)
        )

    async def _scored(self, model: LoadedModel, waiting: Sequence[MessageRows]) -> list[TopicAnswer]:
        groups = grouped(waiting, model.encoder)
        found: list[TopicAnswer] = []
        for group, answered in zip(
            groups, await asyncio.gather(*(self._of_group(model, group) for group in groups)), strict=True
        ):
            self._tell_unknown(group)
            found += answered
        return found

    async def _of_group(self, model: LoadedModel, group: MessageGroup) -> list[TopicAnswer]:
        encoded, caller = group.encoded, self._caller
        model.meter.row_errors += len(encoded.errors)  # no quota: it reads as fast as it can answer
        parts = await scored_rows(model, encoded, caller, None)
        scores = whole(encoded, parts)
        noted = remembered(self._memory, model, encoded, scores, parts, caller, group.event_ids)
        return list(answers(model.facts, group, scores, noted, self._refuse))

    def _tell_unknown(self, group: MessageGroup) -> None:
        """Fields that the model does not know are told once each."""
        for warning in group.encoded.warnings:
            if warning not in self._told and len(self._told) < MOST_FIELDS_TOLD:
                self._told.add(warning)
                log.warning("a message has what the model does not know", warning=warning)


def _in_order(found: list[TopicAnswer]) -> list[TopicAnswer]:
    """Within each partition."""
    return sorted(found, key=lambda answer: answer.record.offset)

"""Messages whose records are given the numbers that the model's declaration counts over windows.

They are counted in the ledger before they are scored. Whoever reads a message again finds it counted, and
gives it the same numbers: nothing has to be known of offsets, and a partition may be anybody's.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from aiokafka import ConsumerRecord
from msgspec import Raw, Struct

from nearnorm.models.aggregates.declaration import Aggregates
from nearnorm.models.aggregates.events import Uncountable
from nearnorm.models.aggregates.key_events import KeyedEvent, Row
from nearnorm.service import counting
from nearnorm.service.background import Background
from nearnorm.service.errors import InvalidRequest, LedgerUnavailable, MalformedBody, ServiceError
from nearnorm.service.interfaces.kafka.messages.messages import ARROW, record_id
from nearnorm.service.interfaces.kafka.messages.schemas import MAGIC, Schemas, when_it_answers
from nearnorm.service.interfaces.kafka.meters import StreamMeters
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.records.limits import check_values

COUNTING = "counting over windows"
RETRY_SECONDS = 1.0
_decode = msgspec.json.Decoder(dict[str, Raw]).decode  # what is not counted from goes on as it came
_encode = msgspec.json.Encoder().encode
_NO_OBJECT = "a record is a JSON object"

Value = bytes | None | ServiceError
"""What a message holds with its numbers, or why it has none."""


class CountedRows(Struct, eq=False):
    """A message's records, and the events that they are."""

    records: list[dict[str, Any]]
    events: list[KeyedEvent]

    def with_numbers(self, aggregates: Aggregates, rows: Sequence[Row]) -> bytes:
        pairs = zip(self.records, rows, strict=True)
        whole = [record | dict(zip(aggregates.features, row, strict=True)) for record, row in pairs]
        return b"\n".join(map(_encode, whole))


class TopicCounts:
    """One streamer's, for one line of models."""

    def __init__(
        self, ledger: Ledger, background: Background, schemas: Schemas, model: str, meters: StreamMeters
    ) -> None:
        self._ledger, self._background, self._schemas = ledger, background, schemas
        self._model, self._meters = model, meters

    async def values(self, records: Sequence[ConsumerRecord], aggregates: Aggregates) -> list[Value]:
        """Of each message. What is sent under a declared name is not believed. Waits for the ledger."""
        found: list[Value] = []
        waiting: list[CountedRows] = []
        places: list[int] = []
        for place, record in enumerate(records):
            try:
                rows = await self._read(record, aggregates)
            except ServiceError as problem:
                found.append(problem)
                continue
            found.append(None)
            if waiting and sum(len(one.events) for one in waiting) + len(rows.events) > counting.MOST_EVENTS:
                await self._fill(found, places, waiting, aggregates)
                waiting, places = [], []
            waiting.append(rows)
            places.append(place)
        await self._fill(found, places, waiting, aggregates)
        return found

    async def _fill(
        self,
        found: list[Value],
        places: Sequence[int],
        waiting: Sequence[CountedRows],
        aggregates: Aggregates,
    ) -> None:
        numbers = iter(await self._counted([event for one in waiting for event in one.events], aggregates))
        for place, one in zip(places, waiting, strict=True):
            found[place] = one.with_numbers(aggregates, [next(numbers) for _ in one.events])

    async def _counted(self, events: Sequence[KeyedEvent], aggregates: Aggregates) -> list[Row]:
        model = self._model
        while True:
            try:
                found = await self._ledger.written(lambda c: counting.count_in(c, model, aggregates, events))
            except LedgerUnavailable as error:
                self._background.waits(COUNTING, error.detail)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._background.works(COUNTING)
                self._meters.counted += {
                    "counted": found.kept - found.late,
                    "late": found.late,
                    "again": found.again,
                    "ahead": found.ahead,
                }
                return found.rows

    async def _read(self, record: ConsumerRecord, aggregates: Aggregates) -> CountedRows:
        """Raises ServiceError for a message that cannot be counted, or that is refused for its key once it
        is; waits for the registry."""
        rows = await when_it_answers(
            self._background, lambda: read_rows(record.value, aggregates, self._schemas)
        )
        if len(rows.records) == 1:
            record_id(record.key)
        return rows


async def read_rows(value: bytes | None, aggregates: Aggregates, schemas: Schemas) -> CountedRows:
    """Of a message. Raises ServiceError for one that cannot be counted, RegistryUnavailable."""
    value = value or b""
    if value.startswith(ARROW):
        raise InvalidRequest("an Arrow stream is not counted over windows: send JSON, a line a record")
    if not value.startswith(MAGIC):
        return _rows(_documents(value), aggregates)
    inner = await schemas.value(value)
    return _rows(_documents(inner) if isinstance(inner, bytes) else [inner], aggregates)


def _documents(text: bytes) -> list[dict[str, Raw]]:
    """A record's JSON, or one a line. Raises MalformedBody, BodyTooLarge, InvalidRequest."""
    check_values(text)
    try:
        return [_decode(text)]
    except msgspec.ValidationError:
        raise InvalidRequest(_NO_OBJECT) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return [_decode(line) for line in text.split(b"\n") if line.strip()]
    except msgspec.ValidationError:
        raise InvalidRequest(_NO_OBJECT) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBody(f"the message is no JSON: {error}") from None


def _rows(documents: Sequence[object], aggregates: Aggregates) -> CountedRows:
    """Raises InvalidRequest naming the field: a message is counted as a whole, or not at all."""
    found = CountedRows([], [])
    for row, document in enumerate(documents):
        where = f"row {row + 1}: " if len(documents) > 1 else ""
        if not isinstance(document, dict):  # by an Avro schema of something else
            raise InvalidRequest(_NO_OBJECT)
        try:
            found.events.append(counting.event_of_sent(document, aggregates))
        except Uncountable as problem:
            raise InvalidRequest(f"{where}{problem}", field=problem.field) from None
        found.records.append(document)
    return found

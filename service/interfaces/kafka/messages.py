"""What a message holds, by how it begins: a JSON object, several of them (a line each), an Arrow stream, or
either kind of JSON and Avro in a schema registry's wire format."""

from collections.abc import Sequence
from typing import Any

from aiokafka import ConsumerRecord
from msgspec import Struct

from nearnorm.service.errors import InvalidRequest, MalformedBody
from nearnorm.service.interfaces.kafka.names import message_name, row_names
from nearnorm.service.interfaces.kafka.schemas import MAGIC, Schemas
from nearnorm.service.records.encoded import Encoded
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.records.limits import ID_CHARACTERS, check_values
from nearnorm.service.records.shapes import Id
from nearnorm.service.scoring.codec import ARROW_CODEC, import_codec

ARROW = b"\xff\xff\xff\xff"
"""How an Arrow stream begins."""


class MessageRows(Struct, eq=False):
    """A message as rows: decoded `records`, or an Arrow stream that is `encoded` already. `many`: it may hold
    any number of them."""

    record: ConsumerRecord
    name: str
    records: Sequence[Any] = ()
    encoded: Encoded | None = None
    many: bool = False

    @property
    def count(self) -> int:
        return len(self.records) if self.encoded is None else self.encoded.count

    @property
    def id(self) -> Id | None:
        """Of a lone record: what the message's key says. Raises InvalidRequest."""
        key: bytes | None = self.record.key
        if not key:
            return None
        try:
            text = key.decode()
        except UnicodeDecodeError:
            text = key.hex()
        if len(text) > ID_CHARACTERS:
            raise InvalidRequest(
                f"the key has {len(text)} characters, and {ID_CHARACTERS} are allowed: it is the record's id",
                field="key",
            )
        return text

    @property
    def event_ids(self) -> list[str]:
        return row_names(self.name, self.count) if self.many else [self.name]


async def read(
    record: ConsumerRecord, value: bytes | None, encoder: Encoder, schemas: Schemas
) -> MessageRows:
    """A message as it came, or as its `value` is by now. Raises ServiceError for one that cannot be read,
    RegistryUnavailable."""
    name = message_name(record.topic, record.partition, record.offset)
    if not value:
        raise MalformedBody("the message has no value: send a record as JSON")
    if value.startswith(ARROW):
        _, encoded = import_codec(ARROW_CODEC).read(value, encoder)
        return MessageRows(record, name, encoded=encoded, many=True)
    if value.startswith(MAGIC):
        found = await schemas.value(value)
        if not isinstance(found, bytes):
            return MessageRows(record, name, [found])
        value = found
    check_values(value)
    text = value.strip()
    try:
        rows = MessageRows(record, name, [encoder.decode_record(text)])
    except MalformedBody:
        if b"\n" not in text:
            raise
        lines = encoder.decode_lines(text)
        encoder.check_rows(len(lines), "message")
        return MessageRows(record, name, lines, many=True)
    _ = rows.id  # while a mistake in it is still this message's alone
    return rows

"""What a message holds, by how it begins: a JSON object, several of them (a line each), an Arrow stream, or
either kind of JSON and Avro in a schema registry's wire format."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aiokafka import ConsumerRecord
from msgspec import Struct

from nearnorm.service.errors import InvalidRequest, MalformedBody
from nearnorm.service.interfaces.kafka.messages.names import message_name
from nearnorm.service.interfaces.kafka.messages.schemas import MAGIC, Schemas
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.records.limits import ID_CHARACTERS, check_values
from nearnorm.service.records.shapes import Id
from nearnorm.service.scoring.codec import ARROW_CODEC, import_codec

if TYPE_CHECKING:
    import pyarrow as pa

ARROW = b"\xff\xff\xff\xff"
"""How an Arrow stream begins."""
_LINES = re.compile(rb"[^\n]*}[ \t\r]*\n[ \t\r]*{")
"""How lines of records begin: no single record has a brace that opens behind one that closes."""


class MessageRows(Struct, eq=False):
    """A message as rows: decoded `records`, or the `table` of an Arrow stream and all its columns' names.
    `many`: it may hold any number of them."""

    record: ConsumerRecord
    name: str
    records: Sequence[Any] = ()
    table: "pa.Table | None" = None
    columns: Sequence[str] = ()
    many: bool = False

    @property
    def count(self) -> int:
        return len(self.records) if self.table is None else int(self.table.num_rows)

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


async def read(
    record: ConsumerRecord, value: bytes | None, encoder: Encoder, schemas: Schemas
) -> MessageRows:
    """A message as it came, or as its `value` is by now. Raises ServiceError for one that cannot be read,
    RegistryUnavailable."""
    name = message_name(record.topic, record.partition, record.offset)
    if not value:
        raise MalformedBody("the message has no value: send a record as JSON")
    if value.startswith(ARROW):
        import_codec(ARROW_CODEC)  # says what is missing
        from nearnorm.service.records.arrow_stream import read_stream

        table, columns = read_stream(value, encoder.schema, encoder.max_rows)
        return MessageRows(record, name, table=table, columns=columns, many=True)
    if value.startswith(MAGIC):
        found = await schemas.value(value)
        if not isinstance(found, bytes):
            return MessageRows(record, name, [found])
        value = found
    check_values(value)
    text = value.strip()
    if _LINES.match(text):
        return _lines(record, name, text, encoder)
    try:
        rows = MessageRows(record, name, [encoder.decode_record(text)])
    except MalformedBody:
        if b"\n" not in text:
            raise
        return _lines(record, name, text, encoder)
    _ = rows.id  # while a mistake in it is still this message's alone
    return rows


def _lines(record: ConsumerRecord, name: str, text: bytes, encoder: Encoder) -> MessageRows:
    lines = encoder.decode_lines(text)
    encoder.check_rows(len(lines), "message")
    return MessageRows(record, name, lines, many=True)

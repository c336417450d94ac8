"""What a message holds, by how it begins: a JSON object, several of them (a line each), an Arrow stream."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aiokafka import ConsumerRecord
from msgspec import Struct

from nearnorm.service.errors import InvalidRequest, MalformedBody
from nearnorm.service.interfaces.kafka.messages.names import message_name
from nearnorm.service.interfaces.kafka.messages.schemas import Held
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
    """A message as `count` rows: decoded `records`, or the `table` of an Arrow stream and all its columns'
    names. `many`: it may hold any number of them; a lone record's `id` is what the message's key says."""

    record: ConsumerRecord
    count: int = 1
    records: Sequence[Any] = ()
    table: "pa.Table | None" = None
    columns: Sequence[str] = ()
    many: bool = False
    id: Id | None = None

    @property
    def name(self) -> str:
        return message_name(self.record.topic, self.record.partition, self.record.offset)


def read(record: ConsumerRecord, held: Held, encoder: Encoder) -> MessageRows:
    """A message that holds this, out of a registry's wire format. Raises ServiceError for one that cannot be
    read."""
    if isinstance(held, dict):
        return MessageRows(record, records=[held], id=record_id(record.key))
    if not held:
        raise MalformedBody("the message has no value: send a record as JSON")
    if held.startswith(ARROW):
        import_codec(ARROW_CODEC)  # says what is missing
        from nearnorm.service.records.arrow_stream import read_stream

        table, columns = read_stream(held, encoder.schema, encoder.max_rows)
        return MessageRows(record, table.num_rows, table=table, columns=columns, many=True)
    check_values(held)
    text = held.strip()
    is_one_line = b"\n" not in text
    if not is_one_line and _LINES.match(text):
        return _lines(record, text, encoder)
    try:
        found = encoder.decode_record(text)
    except MalformedBody:
        if is_one_line:
            raise
        return _lines(record, text, encoder)
    return MessageRows(record, records=[found], id=record_id(record.key))


def _lines(record: ConsumerRecord, text: bytes, encoder: Encoder) -> MessageRows:
    lines = encoder.decode_lines(text)
    encoder.check_rows(len(lines), "message")
    return MessageRows(record, len(lines), lines, many=True)


def record_id(key: bytes | None) -> Id | None:
    """What a message's key says of its lone record. Raises InvalidRequest."""
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

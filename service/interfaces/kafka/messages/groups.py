"""Messages whose rows are read together: of one kind, as many as make a batch."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import msgspec
from msgspec import Struct

from nearnorm.service.errors import TooManyRows
from nearnorm.service.interfaces.kafka.messages.messages import MessageRows
from nearnorm.service.interfaces.kafka.messages.names import row_name
from nearnorm.service.records.encoded import Encoded
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.records.shapes import Id


class MessageGroup(Struct, eq=False):
    """`encoded` holds the rows of all `messages`, one after the other; `starts` says where each begins, and
    has the end of the last as well."""

    messages: Sequence[MessageRows]
    encoded: Encoded
    starts: Sequence[int]
    is_arrow: bool = False

    def event_id(self, place: int) -> str:
        """Of a row, made when it is asked for: few are kept."""
        number = bisect_right(self.starts, place) - 1
        message = self.messages[number]
        return row_name(message.name, place - self.starts[number]) if message.many else message.name


def grouped(messages: Sequence[MessageRows], encoder: Encoder) -> list[MessageGroup]:
    """The messages' rows as arrays: one group of those by the schema's own types, one of the others, and one
    of the Arrow streams of the same columns."""
    by_kind: dict[object, list[MessageRows]] = {}
    for message in messages:
        by_kind.setdefault(_kind(message), []).append(message)
    groups: list[MessageGroup] = []
    for same in by_kind.values():
        try:
            groups.append(_together(same, encoder))
        except TooManyRows:  # each has fewer
            groups += [_together([message], encoder) for message in same]
    return groups


def _kind(message: MessageRows) -> object:
    if message.table is not None:
        return (*message.columns, message.table.schema.to_string())
    return isinstance(message.records[0], msgspec.Struct)


def _together(messages: Sequence[MessageRows], encoder: Encoder) -> MessageGroup:
    starts = [0, *accumulate(message.count for message in messages)]
    if messages[0].table is not None:
        return MessageGroup(messages, _streams(messages, encoder), starts, is_arrow=True)
    records: list[Any] = [record for message in messages for record in message.records]
    encoded = encoder.encode_records(records)
    keyed = [(start, message.id) for message, start in zip(messages, starts, strict=False) if message.id]
    if keyed:
        ids: list[Id | None] = [None] * len(records) if encoded.ids is None else list(encoded.ids)
        for start, given in keyed:
            ids[start] = given
        encoded.ids = ids
    return MessageGroup(messages, encoded, starts)


def _streams(messages: Sequence[MessageRows], encoder: Encoder) -> Encoded:
    import pyarrow as pa

    from nearnorm.service.scoring.arrow import rows_of_table

    table = pa.concat_tables([message.table for message in messages])
    return rows_of_table(table, messages[0].columns, encoder)

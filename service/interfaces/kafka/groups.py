"""Messages whose rows are read together: of one kind, as many as make a batch."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from nearnorm.service.errors import TooManyRows
from nearnorm.service.interfaces.kafka.messages import MessageRows
from nearnorm.service.records.encoded import Encoded
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.records.shapes import Id


class MessageGroup(Struct, eq=False):
    """`encoded` holds the rows of all `messages`, one after the other; `starts` says where each begins, and
    has the end of the last as well. `event_ids` are those of the rows, by place."""

    messages: Sequence[MessageRows]
    encoded: Encoded
    starts: list[int]
    event_ids: list[str]
    is_arrow: bool = False

    def spans(self) -> Iterator[tuple[MessageRows, slice]]:
        for index, message in enumerate(self.messages):
            yield message, slice(self.starts[index], self.starts[index + 1])


def grouped(messages: Sequence[MessageRows], encoder: Encoder) -> list[MessageGroup]:
    """The messages' rows as arrays: one group of those by the schema's own types, one of the others, and one
    for each Arrow stream."""
    groups: list[MessageGroup] = []
    typed: list[MessageRows] = []
    loose: list[MessageRows] = []
    for message in messages:
        if message.encoded is not None:
            whole = [0, message.count]
            groups.append(MessageGroup([message], message.encoded, whole, message.event_ids, is_arrow=True))
        elif isinstance(message.records[0], msgspec.Struct):
            typed.append(message)
        else:
            loose.append(message)
    for same in filter(None, (typed, loose)):
        try:
            groups.append(_together(same, encoder))
        except TooManyRows:  # each has fewer
            groups += [_together([message], encoder) for message in same]
    return groups


def _together(messages: Sequence[MessageRows], encoder: Encoder) -> MessageGroup:
    records: list[Any] = []
    event_ids: list[str] = []
    starts = [0]
    for message in messages:
        records += message.records
        event_ids += message.event_ids
        starts.append(len(records))
    encoded = encoder.encode_records(records)
    ids: list[Id | None] = [None] * len(records) if encoded.ids is None else list(encoded.ids)
    for message, start in zip(messages, starts, strict=False):
        if not message.many and message.id is not None:
            ids[start] = message.id
    if any(found is not None for found in ids):
        encoded.ids = ids
    return MessageGroup(messages, encoded, starts, event_ids)

"""Names of what came by a message: the same whenever it is read."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple


def message_name(topic: str, partition: int, offset: int) -> str:
    """A message's, and so the event_id of its answer."""
    return f"{topic}:{partition}:{offset}"


def row_name(message: str, row: int) -> str:
    """The event_id of a row of a message that holds several."""
    return f"{message}:{row}"


class RowNames(NamedTuple):
    """The event_ids of rows of several messages, by place, each made when it is asked for: few are kept.
    `starts` says where the rows of each message begin; `many`, whether they have names of their own."""

    messages: Sequence[str]
    starts: Sequence[int]
    many: Sequence[bool]

    def of(self, place: int) -> str:
        number = bisect_right(self.starts, place) - 1
        name = self.messages[number]
        return row_name(name, place - self.starts[number]) if self.many[number] else name

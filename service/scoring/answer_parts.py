"""What an answer tells beside rows and their scores: what is kept of them, and why they got their scores."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from nearnorm.service.records.shapes import Matched, Reason


class Remembered(Struct, frozen=True):
    """What /score adds to its answer: by the index of a row among those scored."""

    event_ids: Mapping[int, str]
    matched: Mapping[int, Matched]


NOTHING = Remembered({}, {})


class Reasons(Struct, frozen=True):
    """By the index of a row among those scored; `groups` are those that were compared with, by prototype."""

    by_row: Mapping[int, list[Reason]]
    groups: dict[str, Any]
    warning: str | None = None

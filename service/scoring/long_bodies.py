"""Which bodies take long: they are read and answered in the bulk process, the others in the event loop."""

from typing import cast

from msgspec import Struct, UnsetType
from msgspec.structs import astuple

from nearnorm.service.records import lines
from nearnorm.service.records.columns import ColumnRequest
from nearnorm.service.records.shapes import Envelope
from nearnorm.service.scoring.bulk.requests import Body
from nearnorm.service.scoring.codec import ARROW_CODEC

SHORT_BYTES = 2**15
"""Largest body whose reading is no step of its own where lines take turns: 32 records of 30 numbers
are 14 kB, and take 70 microseconds."""
INLINE_BYTES = 2**18
"""Largest body of JSON that is read in the event loop, where its rows are typed."""
INLINE_LOOSE_BYTES = 2**16
"""The same where they are not: that takes ten times as long."""
INLINE_ARROW_BYTES = 2**17
INLINE_ROWS = 2_000
"""Rows up to which a JSON body is read and its answer written in the event loop."""
INLINE_LOOSE_ROWS = 500
"""The same of records that are not typed, and of JSON lines: one takes five microseconds, however short."""


def takes_long(request: Envelope, size: int) -> bool:
    """Whether a decoded request of `size` bytes has many rows, or goes cell by cell and has many of them."""
    if type(request) is Envelope:
        records = request.records
        many = not isinstance(records, UnsetType) and len(records) > INLINE_LOOSE_ROWS
        return many or size > INLINE_LOOSE_BYTES
    if size <= 2 * INLINE_ROWS:  # a row takes two bytes at least
        return False
    if not isinstance(request.records, UnsetType):
        return len(request.records) > INLINE_ROWS
    columns = request.sent if isinstance(request, ColumnRequest) else astuple(cast("Struct", request.columns))
    return any(not isinstance(column, UnsetType) and len(column) > INLINE_ROWS for column in columns)


def body_takes_long(sent: Body) -> bool:
    """The same of a body that is not decoded yet."""
    if sent.codec == ARROW_CODEC:
        return len(sent.content) > INLINE_ARROW_BYTES
    return len(sent.content) > INLINE_LOOSE_BYTES or lines.count(sent.content) > INLINE_LOOSE_ROWS

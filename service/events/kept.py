"""A kept row on its way to the ledger, cut out of its batch: a large batch need not stay in memory."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from nearnorm.models.data.digest import text_digest
from nearnorm.models.data.records import Value, records
from nearnorm.models.data.schema import FeatureSchema
from nearnorm.service.ledger.tables.events import events
from nearnorm.service.records.encoder import Encoder

MOST_TEXT = 16_384
"""Characters of a caller's own that may be kept with a row: its id, and categories unknown to the model."""
OVERHEAD = 400
"""Bytes of an event beside its record: ids, digest, numbers, and its places in the indexes."""
AT_ONCE = 500
"""Rows that are read in one step: thousands of them hold the interpreter for tens of milliseconds."""
_encode = msgspec.json.Encoder().encode


class Kept(NamedTuple):
    """`caller` is the API key's name; `size` is about the bytes it takes while it waits; `beside` are columns
    outside the model, as JSON; `source` is the message that the row came by, where it came by one."""

    event_id: str
    at: int
    model: str
    version: str
    record_id: str | None
    score: float
    percentile: float
    anomaly: bool
    prototype: int
    audit: bool
    probability: float
    caller: str
    size: int
    encoder: Encoder
    numeric: bytes
    codes: bytes
    unknown: dict[str, str] | None
    beside: str | None = None
    source: str | None = None


def text_of(record_id: str | None, unknown: Mapping[str, str] | None) -> int:
    """How many characters of a row are the caller's own."""
    given = 0 if record_id is None else len(record_id)
    return given + sum(map(len, unknown.values())) if unknown else given


def as_rows(group: Sequence[Kept]) -> list[events.Row]:
    """As the ledger takes them."""
    rows: list[events.Row] = []
    for start in range(0, len(group), AT_ONCE):
        rows += _some_as_rows(group[start : start + AT_ONCE])
    return rows


def _some_as_rows(group: Sequence[Kept]) -> list[events.Row]:
    """All of an encoder are read at once: one by one takes far longer."""
    by_encoder: dict[Encoder, list[Kept]] = defaultdict(list)
    for kept in group:
        by_encoder[kept.encoder].append(kept)
    rows: list[events.Row] = []
    for encoder, same in by_encoder.items():
        texts = map(_encode, _records(encoder.schema, same))
        rows += [
            (
                *kept[:5],
                text_digest(text),
                text.decode(),
                *kept[5:12],
                OVERHEAD
                + len(text)
                + (0 if kept.record_id is None else len(kept.record_id))
                + (0 if kept.beside is None else len(kept.beside)),
                kept.beside,
                kept.source,
            )
            for kept, text in zip(same, texts, strict=True)
        ]
    return rows


def _records(schema: FeatureSchema, group: Sequence[Kept]) -> list[dict[str, Value]]:
    count = len(group)
    numeric = np.frombuffer(b"".join([kept.numeric for kept in group]), np.float64)
    codes = np.frombuffer(b"".join([kept.codes for kept in group]), np.int64)
    return records(
        schema,
        numeric.reshape(count, len(schema.numeric)),
        codes.reshape(count, len(schema.categorical)),
        {i: kept.unknown for i, kept in enumerate(group) if kept.unknown},
    )

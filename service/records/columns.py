"""Columns of a large body, from its text straight into arrays: a third of what lists of numbers take.

Only what the schema's own types would accept is read here. Everything else, a mistake above all, is left
to the decoder that can tell what is wrong.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import simdjson
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from nearnorm.models.data.schema import FeatureSchema, Kind
from nearnorm.service.records.shapes import Envelope

Column = NDArray[np.float64] | list[Any] | UnsetType

LEAST = 8192
"""Bytes of a body from which on it is worth looking here."""
_OPENING = ord("[")
_HEAD = 256  # within which `columns` has to begin
_TEXTS: set[type] = {str, type(None)}
_ACCEPTED: dict[Kind, set[type]] = {
    Kind.NUMERIC: {float, int, type(None)},
    Kind.BOOLEAN: {bool, type(None)},
    Kind.TIME: {str, float, int, type(None)},
    Kind.CATEGORICAL: _TEXTS,
    Kind.CODE: _TEXTS,
}


class ColumnRequest(Envelope, kw_only=True):
    """A request whose `sent` columns are in the order of the schema's scored features, its `identifiers` in
    that of its identifier columns, and `kept` in that of the columns that are kept."""

    sent: Sequence[Column]
    identifiers: Sequence[list[Any]]
    kept: Sequence[list[str | None]]


class ColumnDecoder:
    def __init__(self, schema: FeatureSchema) -> None:
        self._scored = schema.scored
        self._identifiers = [f.name for f in schema.ignored if f.kind is Kind.ID]
        self._kept = schema.kept
        self._names = schema.names

    def decode(self, body: bytes) -> ColumnRequest | None:
        """None: leave it to the other decoder."""
        if len(body) < LEAST or b'"columns"' not in body[:_HEAD]:
            return None
        try:
            # a third of the time of body.count
            arrays = int(np.count_nonzero(np.frombuffer(body, np.uint8) == _OPENING))
            return self._read(simdjson.Parser().parse(body), arrays)
        except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, msgspec.ValidationError):
            # simdjson has no errors of its own
            return None

    def _read(self, document: Any, arrays: int) -> ColumnRequest | None:  # noqa: ANN401
        given = list(document.keys())
        columns = document["columns"]
        names = list(columns.keys())
        ids = document["ids"].as_list() if "ids" in given else UNSET
        # one array a column and nothing within them: their numbers are read without a look at the nesting
        plain = arrays == len(names) + (ids is not UNSET) and self._names.issuperset(names)
        if not plain or len(set(names)) < len(names) or len(set(given)) < len(given):
            return None
        rest = {name: document[name] for name in given if name not in ("columns", "ids")}
        envelope = msgspec.convert(rest | ({} if ids is UNSET else {"ids": ids}), Envelope)
        sent = [_column(columns[f.name], f.kind) if f.name in names else UNSET for f in self._scored]
        return ColumnRequest(
            model=envelope.model,
            columns={},
            ids=envelope.ids,
            explain=envelope.explain,
            strict=envelope.strict,
            sent=sent,
            identifiers=[columns[name].as_list() if name in names else [] for name in self._identifiers],
            kept=[_texts(columns[name]) if name in names else [] for name in self._kept],
        )


def _column(values: Any, kind: Kind) -> Column:  # noqa: ANN401
    """Raises TypeError for what the schema's types refuse."""
    if kind is Kind.NUMERIC:
        try:
            return np.frombuffer(values.as_buffer(of_type="d"), np.float64)
        except TypeError:  # nulls, perhaps
            pass
    column: list[Any] = values.as_list()
    if not _ACCEPTED[kind].issuperset(map(type, column)):
        raise TypeError
    return column


def _texts(values: Any) -> list[str | None]:  # noqa: ANN401
    """Raises TypeError for what is to be shown as it was written."""
    column: list[str | None] = values.as_list()
    if not _TEXTS.issuperset(map(type, column)):
        raise TypeError
    return column

"""Arrow streams in and out of /score, for bulk callers (extra `arrow`, imported with the first of them)."""

from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any

import numpy as np
import pyarrow as pa
from msgspec.json import encode
from msgspec.structs import asdict
from numpy.typing import NDArray

from nearnorm.models.data.schema import Feature, Kind
from nearnorm.models.data.tables import to_arrays
from nearnorm.service.records.arrow_stream import read_stream
from nearnorm.service.records.encoded import Encoded, Rows
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.records.identifiers import ids_of
from nearnorm.service.records.kept_columns import of_columns
from nearnorm.service.records.limits import CATEGORY_CHARACTERS
from nearnorm.service.records.row_problems import category_too_long, row_problem
from nearnorm.service.records.shapes import Envelope, Reason
from nearnorm.service.records.unknown_fields import warnings_of
from nearnorm.service.scoring.answer_parts import Reasons, Remembered
from nearnorm.service.scoring.json_answer import all_warnings, novel_places
from nearnorm.service.serving.facts import ModelFacts
from nearnorm.service.serving.results import Scores

_KINDS = {
    "score": pa.float64(),
    "percentile": pa.float64(),
    "anomaly": pa.bool_(),
    "prototype": pa.int64(),
    "distance": pa.float64(),
    "reconstruction_error": pa.float64(),
}
_REASON = pa.struct(
    {
        "feature": pa.string(),
        "value": pa.string(),
        "expected": pa.string(),
        "residual": pa.float64(),
        "usual_residual": pa.float64(),
        "effect": pa.float64(),
        "together": pa.float64(),
        "rebuilt": pa.float64(),
    }
)
"""As in JSON; `value` and `expected`, which are of many shapes there, as JSON text."""


def read(body: bytes, encoder: Encoder) -> tuple[Envelope, Encoded]:
    """What a stream asks for, which is told beside it, and its rows. Raises as `read_stream` does."""
    return Envelope(), rows_of_stream(body, encoder)


def rows_of_stream(body: bytes, encoder: Encoder) -> Encoded:
    """The stream's rows by the encoder's schema. Raises as `read_stream` does."""
    return rows_of_table(*read_stream(body, encoder.schema, encoder.max_rows), encoder)


def rows_of_table(table: pa.Table, names: Sequence[str], encoder: Encoder) -> Encoded:
    """The same of what `read_stream` has read of one stream, or of several of the same `names` together."""
    schema = encoder.schema
    arrays = to_arrays(table, schema)
    errors = {
        row: row_problem("invalid-value", f"{error.field}: {error.detail}", error.field)
        for row, error in arrays.errors.items()
    }
    unknown: dict[int, dict[str, str]] = {}
    for j in np.flatnonzero(arrays.unknown.any(axis=0)).tolist():
        feature, rows = schema.categorical[j], np.flatnonzero(arrays.unknown[:, j])
        for row, text in zip(rows.tolist(), _texts(table, feature, rows), strict=True):
            if len(text) > CATEGORY_CHARACTERS:
                errors.setdefault(row, category_too_long(feature.name, text))
            else:
                unknown.setdefault(row, {})[feature.name] = text
    encoded = Encoded(Rows(arrays.numeric, arrays.codes), table.num_rows, errors=errors)
    sent = [f.name for f in schema.ignored if f.kind is Kind.ID and f.name in table.column_names]
    encoded.ids = ids_of(table.column(name).to_pylist() for name in sent)
    if schema.kept:
        kept = [_cells(table, name) if name in table.column_names else [] for name in schema.kept]
        encoded.beside = of_columns(schema.kept, kept, table.num_rows)
    encoded.warnings = warnings_of(sorted(set(names) - schema.names))
    if errors:
        encoded.kept = [row for row in range(table.num_rows) if row not in errors]
        encoded.rows = Rows(arrays.numeric[encoded.kept], arrays.codes[encoded.kept])
    scored = [feature.name for feature in schema.scored]
    for row in np.flatnonzero(arrays.missing.any(axis=1)).tolist():
        if row not in errors:
            encoded.imputed[row] = list(compress(scored, arrays.missing[row].tolist()))
    encoded.unknown = {row: texts for row, texts in unknown.items() if row not in errors}
    return encoded


def _cells(table: pa.Table, name: str) -> list[object]:
    """A column's values; each text of a dictionary is made once, however many rows have it."""
    found: list[object] = []
    for chunk in table.column(name).chunks:
        if pa.types.is_dictionary(chunk.type):
            used = chunk.indices.dictionary_encode()
            texts = [None, *chunk.dictionary.take(used.dictionary).to_pylist()]
            found += [texts[0 if index is None else index + 1] for index in used.indices.to_pylist()]
        elif pa.types.is_decimal(chunk.type):
            found += chunk.cast(pa.string()).to_pylist()
        else:
            found += chunk.to_pylist()
    return found


def _texts(table: pa.Table, feature: Feature, rows: NDArray[np.int64]) -> list[str]:
    """Categories as they were read. Each text is made once, however many rows have it."""
    sent = table.column(feature.name).take(pa.array(rows)).combine_chunks()
    sent = sent if pa.types.is_dictionary(sent.type) else sent.dictionary_encode()
    used = sent.indices.dictionary_encode()
    distinct = [str(feature.coerce(value)) for value in sent.dictionary.take(used.dictionary).to_pylist()]
    return [distinct[index] for index in used.indices.to_pylist()]


def write(
    facts: ModelFacts,
    _: Envelope,
    encoded: Encoded,
    scores: Scores | None,
    noted: Remembered,
    reasons: Reasons | None,
) -> bytes:
    return as_stream(answer_rows(facts, encoded, scores, noted, reasons))


def answer_rows(
    facts: ModelFacts,
    encoded: Encoded,
    scores: Scores | None,
    noted: Remembered,
    reasons: Reasons | None,
) -> pa.RecordBatch:
    """One row of answers for each row sent; `error` tells why one has none."""
    places = encoded.places()
    columns = _answers(encoded, scores)
    if encoded.ids is not None:
        columns["id"] = pa.array(encoded.ids)
    events = {places[index]: event_id for index, event_id in noted.event_ids.items()}
    errors = {place: f"{error.title}: {error.detail}" for place, error in encoded.errors.items()}
    unknown = {place: list(texts) for place, texts in encoded.unknown.items()}
    novel = novel_places(facts, encoded, scores)
    for name, found, kind in (
        ("event_id", events, pa.string()),
        ("imputed", encoded.imputed, pa.list_(pa.string())),
        ("unknown", unknown, pa.list_(pa.string())),
        ("novel", {place: names for place, (names, _) in novel.items() if names}, pa.list_(pa.string())),
        ("novel_distance", {place: True for place, (_, far) in novel.items() if far}, pa.bool_()),
        ("error", errors, pa.string()),
        ("error_type", {place: error.type for place, error in encoded.errors.items()}, pa.string()),
        ("error_field", {place: error.field for place, error in encoded.errors.items()}, pa.string()),
    ):
        columns[name] = _sparse(found, encoded.count, kind)
    if reasons is not None:
        given_of = {places[row]: list(map(_reason, given)) for row, given in reasons.by_row.items()}
        columns["reasons"] = _sparse(given_of, encoded.count, pa.list_(_REASON))
    about = {
        "model": facts.ref.name,
        "version": facts.ref.version,
        "provider": facts.provider,
        "warnings": "\n".join(all_warnings(encoded, reasons)),
    }
    return pa.RecordBatch.from_pydict(columns).replace_schema_metadata(about)


def as_stream(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def _reason(reason: Reason) -> dict[str, Any]:
    json = {name: encode(getattr(reason, name)).decode() for name in ("value", "expected")}
    return asdict(reason) | json


def _answers(encoded: Encoded, scores: Scores | None) -> dict[str, pa.Array]:
    """The numbers of every row; null for a row with an error."""
    if scores is None:
        return {name: pa.nulls(encoded.count, kind) for name, kind in _KINDS.items()}
    cut, outputs = slice(scores.start, scores.stop), scores.batch.outputs
    found = {
        "score": pa.array(outputs.score[cut].astype(np.float64)),
        "percentile": pa.array(scores.percentile, pa.float64()),
        "anomaly": pa.array(scores.anomaly, pa.bool_()),
        "prototype": pa.array(outputs.prototype[cut]),
        "distance": pa.array(outputs.distance[cut].astype(np.float64)),
        "reconstruction_error": pa.array(outputs.reconstruction_error[cut].astype(np.float64)),
    }
    if encoded.kept is None:
        return found
    order, failed = np.zeros(encoded.count, np.int64), np.ones(encoded.count, bool)
    order[encoded.kept], failed[encoded.kept] = np.arange(len(encoded.kept)), False
    places = pa.array(order, mask=failed)
    return {name: array.take(places) for name, array in found.items()}


def _sparse(found: Mapping[int, Any], count: int, kind: pa.DataType) -> pa.Array:
    if not found and not pa.types.is_list(kind):  # of lists it would make a child for every row
        return pa.nulls(count, kind)
    full: list[Any] = [None] * count
    for place, value in found.items():
        full[place] = value
    return pa.array(full, kind)

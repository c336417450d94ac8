"""Arrow streams in and out of /score, for bulk callers (extra `arrow`, imported with the first of them)."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from msgspec.json import encode
from msgspec.structs import asdict

from nearnorm.models.schema import FeatureSchema
from nearnorm.models.tables import to_arrays
from nearnorm.service.errors import InvalidRequest, MalformedBody, TooManyRows, UnsupportedMedia
from nearnorm.service.records.encoder import Encoded, Rows, row_problem, warnings_of
from nearnorm.service.records.shapes import Reason
from nearnorm.service.scoring.explain import Reasons
from nearnorm.service.scoring.remember import Remembered
from nearnorm.service.serving.model import LoadedModel
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
    }
)
"""As in JSON; `value` and `expected`, which are of many shapes there, as JSON text."""
_RECORD_BATCH, _DICTIONARY_BATCH = 3, 2  # MessageHeader, in Arrow's Message.fbs


def read(body: bytes, schema: FeatureSchema, max_rows: int) -> Encoded:
    """The stream's rows by the schema. Raises MalformedBody, TooManyRows, InvalidRequest."""
    table = _table(body, max_rows)
    names = table.schema.names
    if len(set(names)) < len(names):
        twice = min(name for name, count in Counter(names).items() if count > 1)
        raise InvalidRequest(f"column {twice!r} was sent twice", field=twice)
    if not {f.name for f in schema.scored} & set(names):
        raise InvalidRequest("the stream has no column of the model's schema")
    arrays = to_arrays(table, schema)
    errors = {
        row: row_problem("invalid-value", f"{error.field}: {error.detail}", error.field)
        for row, error in arrays.errors.items()
    }
    encoded = Encoded(Rows(arrays.numeric, arrays.codes), table.num_rows, errors=errors)
    encoded.warnings = warnings_of(arrays.extra)
    if errors:
        encoded.kept = [row for row in range(table.num_rows) if row not in errors]
        encoded.rows = Rows(arrays.numeric[encoded.kept], arrays.codes[encoded.kept])
    for row, j in np.argwhere(arrays.missing).tolist() if arrays.missing.any() else ():
        if row not in errors:
            encoded.imputed.setdefault(row, []).append(schema.scored[j].name)
    for row, j in np.argwhere(arrays.unknown).tolist():
        if row not in errors:
            name = schema.categorical[j].name
            encoded.unknown.setdefault(row, {})[name] = str(table.column(name)[row].as_py())
    return encoded


def write(
    model: LoadedModel,
    encoded: Encoded,
    scores: Scores | None,
    noted: Remembered,
    reasons: Reasons | None,
) -> bytes:
    """One row of answers for each row sent; `error` tells why one has none."""
    places = encoded.places()
    columns = _answers(encoded, scores)
    events = {places[index]: event_id for index, event_id in noted.event_ids.items()}
    told = {place: f"{error.title}: {error.detail}" for place, error in encoded.errors.items()}
    unknown = {place: list(texts) for place, texts in encoded.unknown.items()}
    for name, found, kind in (
        ("event_id", events, pa.string()),
        ("imputed", encoded.imputed, pa.list_(pa.string())),
        ("unknown", unknown, pa.list_(pa.string())),
        ("error", told, pa.string()),
    ):
        columns[name] = _sparse(found, encoded.count, kind)
    warnings = encoded.warnings
    if reasons is not None:
        told_of = {places[row]: list(map(_reason, given)) for row, given in reasons.by_row.items()}
        columns["reasons"] = _sparse(told_of, encoded.count, pa.list_(_REASON))
        warnings = [*warnings, reasons.warning] if reasons.warning else warnings
    about = {
        "model": model.ref.name,
        "version": model.ref.version,
        "provider": model.engine.provider,
        "warnings": "\n".join(warnings),
    }
    batch = pa.RecordBatch.from_pydict(columns).replace_schema_metadata(about)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def _reason(reason: Reason) -> dict[str, Any]:
    json = {name: encode(getattr(reason, name)).decode() for name in ("value", "expected")}
    return asdict(reason) | json


def _answers(encoded: Encoded, scores: Scores | None) -> dict[str, pa.Array]:
    """What every row is told; null for a row with an error."""
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
    if not found:
        return pa.nulls(count, kind)
    full: list[Any] = [None] * count
    for place, value in found.items():
        full[place] = value
    return pa.array(full, kind)


def _table(body: bytes, max_rows: int) -> pa.Table:
    """Read batch by batch, so that a stream of too many rows is not unpacked to its end."""
    try:
        for message in pa.ipc.MessageReader.open_stream(body):
            if _is_compressed(message.metadata.to_pybytes()):
                raise UnsupportedMedia(
                    "compressed Arrow buffers are not read: leave them plain, and pack the body as gzip"
                )
        batches, rows = [], 0
        with pa.ipc.open_stream(body) as stream:
            for batch in stream:
                rows += batch.num_rows
                if rows > max_rows:
                    raise TooManyRows(f"more than {max_rows} rows were sent: send several requests")
                batch.validate(full=True)
                batches.append(batch)
            table = pa.Table.from_batches(batches, stream.schema)
            _ = table.schema.names  # read only when asked for, and perhaps no UTF-8
    except (pa.ArrowException, OSError, EOFError, IndexError, UnicodeDecodeError) as error:
        lines = str(error).splitlines() or ["it ends too soon"]
        raise MalformedBody(f"the body is no Arrow stream: {lines[0]}") from None
    if not rows:
        raise InvalidRequest("the stream has no rows: send at least one")
    return table


def _is_compressed(message: bytes) -> bool:
    """Whether a message's buffers are compressed, read from its flatbuffer: what they would unpack to
    cannot be bounded."""

    def number(at: int, size: int, signed: bool = False) -> int:
        return int.from_bytes(message[at : at + size], "little", signed=signed)

    def field(table: int, index: int) -> int:
        """Where a table's field lies; 0: it is not there."""
        entries = table - number(table, 4, signed=True)
        at = 4 + 2 * index
        offset = number(entries + at, 2) if at < number(entries, 2) else 0
        return table + offset if offset else 0

    def follow(at: int) -> int:
        return at + number(at, 4)

    root = follow(0)
    kind, header = number(field(root, 1), 1), follow(field(root, 2))
    if kind == _DICTIONARY_BATCH:
        header = follow(field(header, 1))
    return kind in (_RECORD_BATCH, _DICTIONARY_BATCH) and field(header, 3) != 0

"""An Arrow stream, looked over before any of it is decoded: which types, how many rows, how many bytes.

A few bytes can stand for gigabytes (a run of equal values, views of one text, buffers that overlap), so only
types whose values have bytes of their own are read, and only the columns that the model scores.
"""

import struct
from collections import Counter

import pyarrow as pa

from nearnorm.models.data.schema import FeatureSchema, Kind
from nearnorm.models.data.spelling import spelled
from nearnorm.service.errors import BodyTooLarge, InvalidRequest, MalformedBody, TooManyRows, UnsupportedMedia
from nearnorm.service.records.limits import shortened

MOST_MESSAGES = 2_000
"""Batches and dictionaries in one stream: each costs some microseconds, however few rows it has."""
MOST_HEAD_BYTES = 2**19
"""Largest description of the columns; at least as much as the model's own need."""
_HEAD_BYTES_A_FEATURE = 512
_TEXTS = (pa.string(), pa.large_string())
_READ = frozenset({pa.float64(), pa.float32(), pa.int64(), pa.int32(), pa.bool_(), *_TEXTS})
_INT, _SIGNED, _SHORT, _LONG = (struct.Struct(f"<{letter}") for letter in "IiHq")
_MOST_FIELDS = 4
_RECORD_BATCH, _DICTIONARY_BATCH = 3, 2  # MessageHeader, in Arrow's Message.fbs


def read_stream(body: bytes, schema: FeatureSchema, max_rows: int) -> tuple[pa.Table, list[str]]:
    """The columns of scored features and of identifiers, those that are kept, and the names of all.

    Raises MalformedBody, TooManyRows, InvalidRequest, UnsupportedMedia, BodyTooLarge.
    """
    most_head = max(MOST_HEAD_BYTES, _HEAD_BYTES_A_FEATURE * len(schema.features))
    try:
        sent, batches, rows, plain = _looked_over(body, most_head, max_rows)
        names = spelled(sent.names, schema.names)
        wanted = _scored(sent, names, schema)
        if plain and len(wanted) == len(names):
            found = [pa.ipc.read_record_batch(message, sent) for message in batches]
        else:  # dictionaries, or columns that nobody scores: those are not decoded
            options = pa.ipc.IpcReadOptions(included_fields=wanted)
            with pa.ipc.open_stream(body, options=options) as stream:
                found, sent = list(stream), stream.schema
        for batch in found:
            batch.validate(full=True)  # its text is text, and its offsets lie within its bytes
        table = pa.Table.from_batches(found, sent)
        if names != sent.names:
            table = table.rename_columns(spelled(table.column_names, schema.names))
    except (pa.ArrowException, OSError, EOFError, IndexError, struct.error, UnicodeDecodeError) as error:
        lines = str(error).splitlines() or ["it ends too soon"]
        raise MalformedBody(f"the body is no Arrow stream: {shortened(lines[0], 200)}") from None
    if not rows:
        raise InvalidRequest("the stream has no rows: send at least one")
    return table, names


def _scored(sent: pa.Schema, names: list[str], schema: FeatureSchema) -> list[int]:
    """Which columns are scored, tell rows apart, or are kept. Raises InvalidRequest for one sent twice, or
    scored and of a type that is not read."""
    places = {name: place for place, name in enumerate(names)}
    if len(places) < len(names):
        twice = shortened(min(name for name, count in Counter(names).items() if count > 1))
        raise InvalidRequest(f"column {twice!r} was sent twice", field=twice)
    wanted = [places[feature.name] for feature in schema.scored if feature.name in places]
    if not wanted:
        raise InvalidRequest("the stream has no column of the model's schema")
    kinds, times = sent.types, {schema.numeric[j].name for j in schema.times.columns}
    for place in wanted:
        if kinds[place] in _READ or _is_read(kinds[place]):
            continue
        if names[place] not in times or not pa.types.is_temporal(kinds[place]):
            name, kind = names[place], shortened(str(kinds[place]))
            raise InvalidRequest(
                f"{name}: the type {kind} is not read: send numbers, booleans or text, "
                "text as a dictionary perhaps",
                field=name,
            )
    identifiers = [places[f.name] for f in schema.ignored if f.kind is Kind.ID and f.name in places]
    kept = [places[name] for name in schema.kept if name in places]
    return sorted(
        {
            *wanted,
            *(place for place in identifiers if kinds[place] in _READ),
            *(place for place in kept if _is_read(kinds[place])),
        }
    )


def _is_read(kind: pa.DataType) -> bool:
    """Whether each value has bytes of its own, and means what it would in JSON."""
    if pa.types.is_dictionary(kind):
        return kind.value_type in _TEXTS
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal128(kind)
    return bool(number or kind in _TEXTS or kind in (pa.bool_(), pa.null()))


def _looked_over(body: bytes, most_head: int, max_rows: int) -> tuple[pa.Schema, list[pa.Message], int, bool]:
    """The schema, the batches, how many rows they say they have, and whether there are no dictionaries.

    No buffer is touched.
    """
    schema, batches, rows, plain = None, [], 0, True
    for count, message in enumerate(pa.ipc.MessageReader.open_stream(body)):
        head = message.metadata
        if head.size > most_head:
            raise BodyTooLarge(
                f"the stream describes its columns in more than {most_head:,} bytes: "
                "leave out columns that the model does not know"
            )
        if schema is None:
            schema = pa.ipc.read_schema(message)
            continue
        if count > MOST_MESSAGES:
            raise BodyTooLarge(
                f"the stream has more than {MOST_MESSAGES:,} batches: put more rows into each of them"
            )
        found = _check_message(head.to_pybytes(), 0 if message.body is None else message.body.size)
        if found is None:
            plain = False
            continue
        batches.append(message)
        rows += found
        if rows > max_rows:
            raise TooManyRows(f"more than {max_rows} rows were sent: send several requests")
    if schema is None:
        raise EOFError
    return schema, batches, rows, plain


def _check_message(message: bytes, size: int) -> int | None:
    """The rows of a batch whose body has `size` bytes, by its flatbuffer, which Arrow has verified.

    None: it is a dictionary. Raises UnsupportedMedia, MalformedBody for what stands for more bytes than it
    has.
    """
    _, kind, header, *_ = _fields(message, _INT.unpack_from(message)[0])
    kind, header = message[kind], _follow(message, header)
    fields = _fields(message, header)
    if kind == _DICTIONARY_BATCH:
        _, data, delta, *_ = fields
        if delta and message[delta]:
            raise UnsupportedMedia(
                "dictionaries sent in pieces (deltas) are not read: send each of them whole"
            )
        fields = _fields(message, _follow(message, data))
    elif kind != _RECORD_BATCH:
        raise MalformedBody("the body is no Arrow stream: it holds a message that is no batch of rows")
    length, _, buffers, compression, *_ = fields
    if compression:
        raise UnsupportedMedia(
            "compressed Arrow buffers are not read: leave them plain, and pack the body as gzip"
        )
    if buffers:
        start = _follow(message, buffers)
        places = struct.unpack_from(f"<{2 * _INT.unpack_from(message, start)[0]}q", message, start + 4)
        lengths = places[1::2]
        if lengths and (min(lengths) < 0 or sum(lengths) > size):
            raise MalformedBody("the body is no Arrow stream: its buffers are larger than the batch")
    rows: int = _LONG.unpack_from(message, length)[0] if length else 0
    if rows < 0:
        raise MalformedBody("the body is no Arrow stream: a batch has fewer than no rows")
    return rows if kind == _RECORD_BATCH else None


def _fields(message: bytes, table: int) -> list[int]:
    """Where the first fields of a flatbuffer's table lie; 0: it is not there."""
    entries = table - _SIGNED.unpack_from(message, table)[0]
    count = min(_MOST_FIELDS, (_SHORT.unpack_from(message, entries)[0] - 4) // 2)
    offsets = struct.unpack_from(f"<{count}H", message, entries + 4)
    return [table + at if at else 0 for at in offsets] + [0] * (_MOST_FIELDS - count)


def _follow(message: bytes, at: int) -> int:
    place: int = at + _INT.unpack_from(message, at)[0]
    return place

"""A request's body -> what was sent of each row, by the model's schema; the packer makes arrays of it.

Two paths give the same arrays. The typed one decodes straight into the schema's types; whatever it
refuses (another type, an unknown field, a number beyond float64) goes the loose way, cell by cell.
"""

from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any, cast

import msgspec
import numpy as np
from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.structs import astuple
from numpy.typing import NDArray

from nearnorm.models.data.records import Value, value_of
from nearnorm.models.data.schema import FIRST_CODE, UNKNOWN_CODE, FeatureSchema, Kind
from nearnorm.models.data.spelling import spelled
from nearnorm.service.errors import InvalidRequest, MalformedBody, TooManyRows
from nearnorm.service.records import lines, loose_json
from nearnorm.service.records.columns import Column, ColumnDecoder, ColumnRequest
from nearnorm.service.records.encoded import Encoded
from nearnorm.service.records.identifiers import Ids, cells_of, ids_of
from nearnorm.service.records.kept_columns import KeptColumns, of_columns
from nearnorm.service.records.limits import MOST_VALUES, check_values, shortened
from nearnorm.service.records.packer import Packer
from nearnorm.service.records.row_problems import row_problem
from nearnorm.service.records.shapes import (
    Envelope,
    Id,
    RowProblem,
    record_type,
    request_type,
    row_fields,
)
from nearnorm.service.records.unknown_fields import MOST_COUNTED, refusal, take_note, warnings_of


class Encoder:
    """Decodes and encodes by one schema. Pure: the same body gives the same arrays."""

    def __init__(self, schema: FeatureSchema, max_rows: int) -> None:
        self.schema = schema
        self.max_rows = max_rows
        record = record_type(schema)
        self._request = request_type(schema, record)
        self._typed = msgspec.json.Decoder(self._request)
        self._record = None if record is None else msgspec.json.Decoder(record)
        self._columns = ColumnDecoder(schema)
        self._fields = row_fields(schema)
        self._names = schema.names
        self._packer = Packer(schema)
        self._identifiers = [f.name for f in self._fields if f.kind is Kind.ID]
        self._id_places = [j for j, f in enumerate(self._fields) if f.kind is Kind.ID]
        self._kept_places = [j for j, f in enumerate(self._fields) if f.keep]

    def decode(self, body: bytes) -> Envelope:
        """The request, typed where possible, else an Envelope.

        Raises MalformedBody, InvalidRequest, BodyTooLarge.
        """
        if len(body) > MOST_VALUES:
            check_values(body)
        try:
            return self._decoded(body)
        except MalformedBody:
            whole = loose_json.whole_characters(body) if self.schema.kept else body
            if whole == body:
                raise
        return self._decoded(whole)

    def _decoded(self, body: bytes) -> Envelope:
        columns = self._columns.decode(body)
        if columns is not None:
            return columns
        try:
            return self._typed.decode(body)
        except msgspec.ValidationError:
            return loose_json.decode_envelope(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            loose_json.raise_malformed(body, error)

    def decode_record(self, text: bytes) -> object:
        """One record's JSON: typed where possible, else as it is. Raises MalformedBody, BodyTooLarge."""
        if self._record is not None:
            try:
                return self._record.decode(text)
            except msgspec.ValidationError:
                pass
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                loose_json.raise_malformed(text, error)
        return loose_json.record(Raw(text), 0)

    def decode_lines(self, text: bytes) -> Sequence[object]:
        """Records' JSON, one a line: all typed or none. Raises MalformedBody, BodyTooLarge."""
        if self._record is not None:
            try:
                return self._record.decode_lines(text)
            except msgspec.ValidationError:
                pass
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                loose_json.raise_malformed(text, error)
        return [loose_json.record(Raw(line), place) for place, line in enumerate(text.split(b"\n"))]

    def encode_records(self, records: list[Any]) -> Encoded:
        """Decoded records, all typed or none. Raises as `encode` does."""
        typed = isinstance(records[0], Struct)
        return self.encode((self._request if typed else Envelope)(records=records))

    def encode(self, request: Envelope) -> Encoded:
        """Arrays of a decoded request. Raises InvalidRequest, TooManyRows for the request as a whole."""
        encoded = self._encoded(request)
        if not isinstance(request.ids, UnsetType):
            encoded.ids = request.ids
        return encoded

    def _encoded(self, request: Envelope) -> Encoded:
        records, columns = request.records, request.columns
        if isinstance(columns, UnsetType):
            if isinstance(records, UnsetType):
                raise InvalidRequest("send `records` or `columns`")
            self._check_count(len(records), request.ids, "records")
            if type(request) is Envelope:
                return self._loose_records(records, request.strict)
            if len(records) == 1 and (row := self._packer.lone(astuple(records[0]))):
                return Encoded(row, 1)
            return self._typed_records(records)
        if not isinstance(records, UnsetType):
            raise InvalidRequest("send either `records` or `columns`, not both")
        if type(request) is Envelope:
            return self._loose_columns(columns, request)
        if isinstance(request, ColumnRequest):
            return self._beside(self._typed_columns(request.sent, request.identifiers, request), request.kept)
        sent = astuple(cast("Struct", columns))
        identifiers = [cells_of(sent[place]) for place in self._id_places]
        encoded = self._typed_columns(sent[: len(self.schema.scored)], identifiers, request)
        return self._beside(encoded, [cells_of(sent[place]) for place in self._kept_places])

    def encode_lines(self, body: bytes) -> Encoded:
        """Arrays of a body that has a record a line. A line that cannot be read is its row's error.

        Raises InvalidRequest, BodyTooLarge, TooManyRows for the body as a whole.
        """
        self.check_rows(lines.count(body), "body")
        check_values(body)
        sent = lines.split(body)
        records = self._decoded_lines(sent)
        if records is not None:
            return self._typed_records(records)
        mend_characters = bool(self.schema.kept)
        return self._loose_records((lines.record_of(line, mend_characters) for line in sent), strict=False)

    def _decoded_lines(self, sent: list[bytes]) -> list[Any] | None:
        """Typed records; None where a line holds none."""
        if self._record is None:
            return None
        try:
            return list(map(self._record.decode, sent))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    def _typed_records(self, records: list[Any]) -> Encoded:
        cells: list[Any] = list(map(astuple, records))
        ids = ids_of([row[place] for row in cells] for place in self._id_places)
        encoded = self._packer.typed_rows(cells)
        encoded.ids = ids
        if places := self._kept_places:
            encoded.beside = KeptColumns(self.schema.kept, lambda place, j: cells[place][places[j]])
        return encoded

    def _beside(self, encoded: Encoded, kept: Sequence[Sequence[object]]) -> Encoded:
        """With columns that are kept, in the schema's order."""
        if kept:
            encoded.beside = of_columns(self.schema.kept, kept, encoded.count)
        return encoded

    def encode_matrix(self, numbers: NDArray[np.float64]) -> Encoded:
        """[N, D] in the order of the schema, all of whose features are numbers; NaN is missing."""
        return self._packer.matrix(numbers)

    def check_rows(self, count: int, what: str) -> None:
        """Raises InvalidRequest for none, TooManyRows."""
        if count == 0:
            raise InvalidRequest(f"`{what}` is empty: send at least one row", field=what)
        if count > self.max_rows:
            raise TooManyRows(
                f"{count} rows were sent and {self.max_rows} are allowed: send several requests"
            )

    def record(self, encoded: Encoded, index: int) -> dict[str, Value]:
        """Row `index` of `encoded.rows` as the model read it; None is missing."""
        numbers, codes = encoded.rows.numeric[index].tolist(), encoded.rows.codes[index].tolist()
        unknown = encoded.unknown.get(encoded.places()[index], {})
        found: dict[str, Value] = {}
        for f, number in zip(self.schema.numeric, numbers, strict=True):
            found[f.name] = value_of(f, number)
        for f, code in zip(self.schema.categorical, codes, strict=True):
            known = f.categories[code - FIRST_CODE] if code >= FIRST_CODE else None
            found[f.name] = unknown.get(f.name) if code == UNKNOWN_CODE else known
        return found

    def _check_count(self, count: int, ids: list[Id] | UnsetType, what: str) -> None:
        self.check_rows(count, what)
        if isinstance(ids, UnsetType):
            return
        if len(ids) != count:
            raise InvalidRequest(f"{len(ids)} ids were sent for {count} rows: send one a row", field="ids")
        if len(set(ids)) != count:
            seen: set[Id] = set()
            twice = next(i for i in ids if i in seen or seen.add(i))  # type: ignore[func-returns-value]
            raise InvalidRequest(f"id {twice!r} was sent twice: ids tell rows apart", field="ids")

    def _loose_records(self, records: Iterable[object], strict: bool) -> Encoded:
        """Of records in any shape, as text or decoded, or the problem of one that could not be read."""
        errors: dict[int, RowProblem] = {}
        strange: dict[str, None] = {}
        cells: list[Any] = []
        own: list[list[object]] = [[] for _ in self._identifiers]
        kept: list[list[object]] = [[] for _ in self.schema.kept]
        for place, sent in enumerate(records):
            record = self._spelled(loose_json.record(sent, place))
            for name, given in zip((*self._identifiers, *self.schema.kept), (*own, *kept), strict=True):
                given.append(record.get(name) if isinstance(record, dict) else None)
            if not isinstance(record, dict):
                errors[place] = record if isinstance(record, RowProblem) else _no_record()
                cells.append(None)
                continue
            unknown = record.keys() - self._names
            take_note(strange, unknown)
            if unknown and strict:
                name = min(unknown)
                errors[place] = row_problem("unknown-field", refusal(name), shortened(name))
            cells.append(
                self._packer.coerced([record.get(f.name) for f in self.schema.scored], place, errors)
            )
        encoded = self._packer.rows(cells, errors)
        encoded.warnings, encoded.ids = warnings_of(strange), ids_of(own)
        return self._beside(encoded, kept)

    def _spelled(self, sent: object) -> object:
        """A record or columns by the schema's own names, however they were typed; not one of thousands of
        names, which takes long."""
        if not isinstance(sent, dict) or sent.keys() <= self._names or len(sent) > MOST_COUNTED:
            return sent
        return dict(zip(spelled(list(sent), self._names), sent.values(), strict=True))

    def _typed_columns(
        self, sent: Sequence[Column], identifiers: Iterable[Iterable[object]], request: Envelope
    ) -> Encoded:
        named = zip(self.schema.scored, sent, strict=True)
        count = self._column_count({f.name: column for f, column in named if column is not UNSET}, request)
        encoded = self._packer.columns(sent, count)
        encoded.ids = _as_many(ids_of(identifiers), count)
        return encoded

    def _column_count(self, columns: Mapping[str, Sized], request: Envelope) -> int:
        lengths = {name: len(column) for name, column in columns.items()}
        if not lengths:
            raise InvalidRequest("`columns` has no column of the model's schema", field="columns")
        first, count = next(iter(lengths.items()))
        for name, length in lengths.items():
            if length != count:
                raise InvalidRequest(
                    f"columns differ in length: {first} has {count} values and {name} {length}", field=name
                )
        self._check_count(count, request.ids, "columns")
        return count

    def _loose_columns(self, sent: dict[str, Any], request: Envelope) -> Encoded:
        columns = cast("dict[str, Any]", self._spelled(sent))
        known = {
            f.name: loose_json.column(columns[f.name], f.name)
            for f in self.schema.scored
            if f.name in columns
        }
        count = self._column_count(known, request)
        strange: dict[str, None] = {}
        take_note(strange, columns.keys() - self._names)
        if strange and request.strict:
            name = next(iter(strange))
            raise InvalidRequest(refusal(name), field=shortened(name))
        errors: dict[int, RowProblem] = {}
        absent = [None] * count
        rows = zip(*(known.get(f.name, absent) for f in self.schema.scored), strict=True)
        cells = [self._packer.coerced(row, place, errors) for place, row in enumerate(rows)]
        encoded = self._packer.rows(cells, errors)
        encoded.warnings = warnings_of(strange)
        encoded.ids = _as_many(ids_of(cells_of(columns.get(name)) for name in self._identifiers), count)
        return self._beside(encoded, [cells_of(columns.get(name)) for name in self.schema.kept])


def _no_record() -> RowProblem:
    return row_problem("not-a-record", "the record is no object: send {feature: value, ...}")


def _as_many(ids: Ids | None, count: int) -> Ids | None:
    """Ids of a column that has one a row; what no model reads may be shorter, and tells no rows apart."""
    return ids if ids is not None and len(ids) == count else None

"""A request's body -> arrays by the model's schema, with an error for every row that does not fit.

Two paths give the same arrays. The typed one decodes straight into the schema's types; whatever it
refuses (another type, an unknown field, a number beyond float64) goes the loose way, cell by cell.
"""

import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from itertools import compress, starmap
from typing import Any, cast

import msgspec
import numpy as np
from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.structs import astuple
from numpy.typing import NDArray

from nearnorm.models.data.records import Value, value_of
from nearnorm.models.data.schema import FIRST_CODE, MISSING_CODE, UNKNOWN_CODE, Feature, FeatureSchema, Kind
from nearnorm.models.data.spelling import spelled
from nearnorm.service.errors import InvalidRequest, MalformedBody, TooManyRows
from nearnorm.service.records import lines, loose_json
from nearnorm.service.records.columns import Column, ColumnDecoder, ColumnRequest
from nearnorm.service.records.identifiers import Ids, cells_of, ids_of
from nearnorm.service.records.kept_columns import KeptColumns, of_columns
from nearnorm.service.records.limits import (
    CATEGORY_CHARACTERS,
    MOST_VALUES,
    check_names,
    check_values,
    shortened,
)
from nearnorm.service.records.row_problems import category_too_long, row_problem
from nearnorm.service.records.shapes import (
    NAN,
    Envelope,
    Id,
    RowProblem,
    record_type,
    request_type,
    row_fields,
)
from nearnorm.service.records.unknown_fields import MOST_COUNTED, refusal, take_note, warnings_of

_NO_CODES = np.empty((1, 0), np.int64)


class Rows(Struct, eq=False):
    """What a model sees: numeric [N, Dn] float64, NaN = missing; codes [N, Dc] int64."""

    numeric: NDArray[np.float64]
    codes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.numeric)

    def part(self, start: int, stop: int) -> "Rows":
        return Rows(self.numeric[start:stop], self.codes[start:stop])

    def take(self, rows: list[int]) -> "Rows":
        return Rows(self.numeric[rows], self.codes[rows])


def gathered(items: Sequence[Rows]) -> Rows:
    """All rows of the items, one item after the other."""
    if len(items) == 1:
        return items[0]
    numeric = np.concatenate([item.numeric for item in items])
    if not items[0].codes.shape[1]:
        return Rows(numeric, np.empty((len(numeric), 0), np.int64))
    return Rows(numeric, np.concatenate([item.codes for item in items]))


class Encoded(Struct, eq=False):
    """`rows` are those without an error; `kept` are their places among the `count` sent (None: all).

    `imputed` names the missing features of a place, `unknown` the categories that training never saw;
    `ids` are the caller's, by place, and `beside` what the schema keeps of columns outside the model.
    """

    rows: Rows
    count: int
    kept: list[int] | None = None
    errors: dict[int, RowProblem] = {}
    imputed: dict[int, list[str]] = {}
    unknown: dict[int, dict[str, str]] = {}
    warnings: list[str] = []
    ids: Ids | None = None
    beside: KeptColumns | None = None

    @property
    def whole(self) -> bool:
        """Whether there is nothing to add to any row."""
        return not (self.errors or self.imputed or self.unknown or self.warnings) and self.ids is None

    def cut(self, start: int, stop: int) -> "Encoded":
        """Some of `rows`, and what is kept with them, still by place."""
        kept = list(self.places()[start:stop])
        rows = self.rows.part(start, stop)
        return Encoded(rows, self.count, kept, unknown=self.unknown, ids=self.ids, beside=self.beside)

    def places(self) -> Sequence[int]:
        """The place of every one of `rows` among the rows sent."""
        return range(self.count) if self.kept is None else self.kept


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
        self._numbers = len(schema.numeric)
        self._pack = struct.Struct(f"={self._numbers}d").pack
        self._codes: list[Callable[[str | None, int], int]] = [_code_getter(f) for f in schema.categorical]
        self._times = {j: schema.numeric[j] for j in schema.times.columns}
        self._identifiers = [f.name for f in self._fields if f.kind is Kind.ID]
        self._id_places = [j for j, f in enumerate(self._fields) if f.kind is Kind.ID]
        self._kept_places = [j for j, f in enumerate(self._fields) if f.keep]
        self._only_numbers = len(self._fields) == self._numbers
        self._scored_names = [f.name for f in schema.scored]
        # with the quotes and the comma
        self._name_bytes = np.array([len(name.encode()) + 3 for name in self._scored_names], np.int64)
        self._required = {f.name for f in schema.scored if not f.nullable}

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
            if len(records) == 1 and (row := self._lone(astuple(records[0]))):
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
        encoded = self._encode(cells, self._read_times(cells) if self._times else None)
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
        rows = Rows(numbers, np.empty((len(numbers), 0), np.int64))
        return self._looked_over(Encoded(rows, len(numbers)), lambda place, j: "")

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

    def _encode(self, cells: Sequence[Any], errors: dict[int, RowProblem] | None = None) -> Encoded:
        """Tuples in the order of the row's fields -> arrays. Rows with an error are left out."""
        errors = {} if errors is None else errors
        kept = [place for place in range(len(cells)) if place not in errors] if errors else None
        good = cells if kept is None else [cells[place] for place in kept]
        width = self._numbers
        numbers = good if self._only_numbers else [row[:width] for row in good]
        try:
            packed = b"".join(starmap(self._pack, numbers))
        except struct.error:  # a null among the numbers
            packed = b"".join([self._pack(*(NAN if v is None else v for v in row)) for row in numbers])
        codes: list[int] = []
        if self._codes:
            codes = [
                get(v, UNKNOWN_CODE) for row in good for get, v in zip(self._codes, row[width:], strict=False)
            ]
        shape = len(good), len(self._codes)
        rows = Rows(
            np.ndarray((len(good), width), np.float64, packed),
            np.array(codes, np.int64).reshape(shape) if codes else np.empty(shape, np.int64),
        )
        return self._looked_over(
            Encoded(rows, len(cells), kept, errors), lambda place, j: cells[place][width + j]
        )

    def _lone(self, row: Sequence[Any]) -> Rows | None:
        """One row of numbers, by far the most frequent request; None: a value is missing, or one is text."""
        if not self._only_numbers or self._times:
            return None
        try:
            if not math.isfinite(sum(row)):
                return None
        except TypeError:  # a null
            return None
        return Rows(np.ndarray((1, self._numbers), np.float64, self._pack(*row)), _NO_CODES)

    def _looked_over(self, encoded: Encoded, text: Callable[[int, int], str]) -> Encoded:
        """Name what is missing and unknown; a row without a required feature becomes an error.

        `text(place, j)` is what was sent for the j-th categorical feature.
        """
        rows = encoded.rows
        if not np.isnan(rows.numeric).any() and not (self._codes and (rows.codes < FIRST_CODE).any()):
            return encoded
        places = encoded.places()
        missing = np.concatenate([np.isnan(rows.numeric), rows.codes == MISSING_CODE], axis=1)
        check_names(int(missing.sum(axis=0) @ self._name_bytes))
        for index in np.flatnonzero(missing.any(axis=1)).tolist():
            encoded.imputed[places[index]] = list(compress(self._scored_names, missing[index].tolist()))
        refused: dict[int, RowProblem] = {}
        for index, j in np.argwhere(rows.codes == UNKNOWN_CODE).tolist():
            place, feature = places[index], self.schema.categorical[j]
            name, sent = feature.name, str(feature.coerce(text(place, j)))
            code = feature.code(sent)
            if code != UNKNOWN_CODE:  # it was typed in another of Unicode's forms
                rows.codes[index, j] = code
                continue
            if len(sent) > CATEGORY_CHARACTERS:
                refused[place] = category_too_long(name, sent)
            encoded.unknown.setdefault(place, {})[name] = sent
        if self._required:
            refused |= self._without_required(encoded)
        if refused:
            self._leave_out(encoded, refused)
        return encoded

    def _without_required(self, encoded: Encoded) -> dict[int, RowProblem]:
        found = {}
        for place, names in encoded.imputed.items():
            required = next((name for name in names if name in self._required), None)
            if required is not None:
                detail = f"{required} is missing, and training never saw it missing: send a value"
                found[place] = row_problem("missing-value", detail, required)
        return found

    def _leave_out(self, encoded: Encoded, refused: dict[int, RowProblem]) -> None:
        """Rows that turned out to have an error."""
        places = encoded.places()
        for place, problem in refused.items():
            encoded.errors[place] = problem
            encoded.imputed.pop(place, None)
            encoded.unknown.pop(place, None)
        good = [index for index, place in enumerate(places) if place not in refused]
        encoded.kept = [places[index] for index in good]
        encoded.rows = encoded.rows.take(good)

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
            cells.append(self._coerce_row([record.get(f.name) for f in self.schema.scored], place, errors))
        encoded = self._encode(cells, errors)
        encoded.warnings, encoded.ids = warnings_of(strange), ids_of(own)
        return self._beside(encoded, kept)

    def _spelled(self, sent: object) -> object:
        """A record or columns by the schema's own names, however they were typed; not one of thousands of
        names, which takes long."""
        if not isinstance(sent, dict) or sent.keys() <= self._names or len(sent) > MOST_COUNTED:
            return sent
        return dict(zip(spelled(list(sent), self._names), sent.values(), strict=True))

    def _coerce_row(
        self, row: Iterable[object], place: int, errors: dict[int, RowProblem]
    ) -> tuple[float | str | None, ...]:
        cells: list[float | str | None] = []
        for f, value in zip(self.schema.scored, row, strict=True):
            try:
                cell = f.coerce(value)
            except ValueError as error:
                errors.setdefault(place, row_problem("invalid-value", f"{f.name}: {error}", f.name))
                break
            cells.append(NAN if cell is None and f.kind not in (Kind.CATEGORICAL, Kind.CODE) else cell)
        return tuple(cells)

    def _read_times(self, cells: list[Any]) -> dict[int, RowProblem]:
        """Put seconds in the place of times; the rows where one is none."""
        errors: dict[int, RowProblem] = {}
        for place, sent in enumerate(cells):
            row = list(sent)
            for j, feature in self._times.items():
                row[j] = _time(feature, row[j], place, errors)
            cells[place] = row
        return errors

    def _typed_columns(
        self, sent: Sequence[Column], identifiers: Iterable[Iterable[object]], request: Envelope
    ) -> Encoded:
        named = zip(self.schema.scored, sent, strict=True)
        count = self._column_count({f.name: column for f, column in named if column is not UNSET}, request)
        numeric = np.empty((self._numbers, count))
        errors: dict[int, RowProblem] = {}
        for j, (numbers, column) in enumerate(zip(numeric, sent, strict=False)):
            if isinstance(column, UnsetType):
                numbers[:] = NAN
            elif j in self._times:
                feature = self._times[j]
                numbers[:] = [_time(feature, value, place, errors) for place, value in enumerate(column)]
            else:
                numbers[:] = floats(column)
        codes = np.empty((len(self._codes), count), np.int64)
        texts = cast("Sequence[list[str] | UnsetType]", sent[self._numbers :])
        for known, get, text in zip(codes, self._codes, texts, strict=True):
            known[:] = MISSING_CODE if isinstance(text, UnsetType) else [get(v, UNKNOWN_CODE) for v in text]
        encoded = Encoded(Rows(np.ascontiguousarray(numeric.T), np.ascontiguousarray(codes.T)), count)
        encoded.ids = _as_many(ids_of(identifiers), count)
        if errors:
            self._leave_out(encoded, errors)
        return self._looked_over(encoded, lambda place, j: cast("list[str]", texts[j])[place])

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
        cells = [self._coerce_row(row, place, errors) for place, row in enumerate(rows)]
        encoded = self._encode(cells, errors)
        encoded.warnings = warnings_of(strange)
        encoded.ids = _as_many(ids_of(cells_of(columns.get(name)) for name in self._identifiers), count)
        return self._beside(encoded, [cells_of(columns.get(name)) for name in self.schema.kept])


def _no_record() -> RowProblem:
    return row_problem("not-a-record", "the record is no object: send {feature: value, ...}")


def _as_many(ids: Ids | None, count: int) -> Ids | None:
    """Ids of a column that has one a row; what no model reads may be shorter, and tells no rows apart."""
    return ids if ids is not None and len(ids) == count else None


def floats(column: NDArray[np.float64] | list[float | None]) -> NDArray[np.float64]:
    """NaN for null. `struct` takes a third of numpy's time, but no null."""
    if not isinstance(column, list):
        return column
    try:
        return np.frombuffer(struct.pack(f"={len(column)}d", *column), np.float64)
    except struct.error:
        return np.array(column, np.float64)


def _time(feature: Feature, value: object, place: int, errors: dict[int, RowProblem]) -> float:
    """Seconds; NaN for a missing time, and for what is none, which is that row's error."""
    try:
        seconds = cast("float | None", feature.coerce(value))
    except ValueError as error:
        errors.setdefault(place, row_problem("invalid-value", f"{feature.name}: {error}", feature.name))
        return NAN
    return NAN if seconds is None else seconds


def _code_getter(feature: Feature) -> Callable[[str | None, int], int]:
    """What finds the code of a text, or its second argument: a dictionary's `get`, where text is itself."""
    codes: dict[str | None, int] = {None: MISSING_CODE}
    codes.update(feature.code_of)
    if feature.kind is Kind.CATEGORICAL and not feature.missing:
        return codes.get
    read = cast("Callable[[str | None], str | None]", feature.coerce)
    return lambda text, otherwise: codes.get(read(text), otherwise)

"""Cells in the order of a model's schema -> arrays: numbers, times in seconds, codes of categories.

What cannot be read is its row's error; what is missing, or a category that training never saw, is named.
"""

import math
import struct
from collections.abc import Callable, Iterable, Sequence
from itertools import compress, starmap
from typing import Any, cast

import numpy as np
from msgspec import UnsetType
from numpy.typing import NDArray

from nearnorm.models.data.schema import FIRST_CODE, MISSING_CODE, UNKNOWN_CODE, Feature, FeatureSchema, Kind
from nearnorm.service.records.columns import Column
from nearnorm.service.records.encoded import Encoded, Rows
from nearnorm.service.records.limits import CATEGORY_CHARACTERS, check_names
from nearnorm.service.records.row_problems import category_too_long, row_problem
from nearnorm.service.records.shapes import NAN, RowProblem, row_fields

_NO_CODES = np.empty((1, 0), np.int64)


class Packer:
    """Packs by one schema."""

    def __init__(self, schema: FeatureSchema) -> None:
        self._schema = schema
        self._numbers = len(schema.numeric)
        self._pack = struct.Struct(f"={self._numbers}d").pack
        self._codes: list[Callable[[str | None, int], int]] = [_code_getter(f) for f in schema.categorical]
        self._times = {j: schema.numeric[j] for j in schema.times.columns}
        self._only_numbers = len(row_fields(schema)) == self._numbers
        self._scored_names = [f.name for f in schema.scored]
        # with the quotes and the comma
        self._name_bytes = np.array([len(name.encode()) + 3 for name in self._scored_names], np.int64)
        self._required = {f.name for f in schema.scored if not f.nullable}

    def typed_rows(self, cells: list[Any]) -> Encoded:
        """Tuples as the schema's types decode them; times are as sent, and `cells` gets their seconds."""
        return self.rows(cells, self._read_times(cells) if self._times else None)

    def rows(self, cells: Sequence[Any], errors: dict[int, RowProblem] | None = None) -> Encoded:
        """Tuples of values in the order of the row's fields. Rows with an error are left out."""
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

    def lone(self, row: Sequence[Any]) -> Rows | None:
        """One row of numbers, by far the most frequent request; None: a value is missing, or one is text."""
        if not self._only_numbers or self._times:
            return None
        try:
            if not math.isfinite(sum(row)):
                return None
        except TypeError:  # a null
            return None
        return Rows(np.ndarray((1, self._numbers), np.float64, self._pack(*row)), _NO_CODES)

    def matrix(self, numbers: NDArray[np.float64]) -> Encoded:
        """[N, D] in the order of the schema, all of whose features are numbers; NaN is missing."""
        rows = Rows(numbers, np.empty((len(numbers), 0), np.int64))
        return self._looked_over(Encoded(rows, len(numbers)), lambda place, j: "")

    def columns(self, sent: Sequence[Column], count: int) -> Encoded:
        """A column of `count` values for each scored feature, or none."""
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
        if errors:
            self._leave_out(encoded, errors)
        return self._looked_over(encoded, lambda place, j: cast("list[str]", texts[j])[place])

    def coerced(
        self, row: Iterable[object], place: int, errors: dict[int, RowProblem]
    ) -> tuple[float | str | None, ...]:
        """A row's values of any type; the first that does not fit is its error."""
        cells: list[float | str | None] = []
        for f, value in zip(self._schema.scored, row, strict=True):
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
            place, feature = places[index], self._schema.categorical[j]
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

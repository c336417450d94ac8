"""A time column -> what orders the rows: dates, ISO 8601 texts, epoch numbers. Never the order of texts."""

import re
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nearnorm.models.data.schema import Feature, FeatureSchema, Kind
from nearnorm.models.data.tables import to_arrays
from nearnorm.models.data.times import TimeFormat
from nearnorm.models.data.toml_text import quoted
from nearnorm.models.errors import DataError
from nearnorm.training.dataset.columns.distinct import distinct_values
from nearnorm.training.dataset.columns.kinds import time_format
from nearnorm.training.dataset.columns.marks import usual_marks
from nearnorm.training.dataset.columns.time_formats import formats_of_texts
from nearnorm.training.dataset.masks import masked
from nearnorm.training.dataset.recipe import ColumnOverride

_REGIONAL = (TimeFormat.DMY, TimeFormat.MDY, TimeFormat.YMD, TimeFormat.CLOCK)
MEND = "give ISO 8601 (2026-01-31T10:00:00Z), epoch numbers, or a column of a date type"
_ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d+)?)?( ?(Z|[+-]\d\d(:?\d\d)?))?)?")
_EPOCH = re.compile(r"[0-9]+(\.[0-9]+)?")
UNITS_APART = 100
"""Epoch numbers so many times apart count in other units: seconds beside milliseconds."""


_TICKS = {pa.time32("s"): pa.int32(), pa.time32("ms"): pa.int32()}
"""What Arrow casts times of day to."""


def as_time(column: pa.ChunkedArray, name: str) -> ColumnOverride:
    """What the time column is to the model: a time, where its form is known, and else nothing. Raises
    DataError where day and month could change places: the rows' order would be a guess."""
    found = distinct_values(name, column)
    rest = None if found is None else found.without(usual_marks(found.texts) if found.is_text else ())
    if rest is not None and rest.is_text and len(formats := formats_of_texts(rest.texts)) > 1:
        raise DataError(
            f"time column {name!r} holds {masked(rest.texts[0])!r}, which could be written as "
            f"{formats[0]} or {formats[1]}: say by format which it is, in [schema.{quoted(name)}]"
        )
    form = time_format(rest) if rest is not None and len(rest.values) > 1 else None
    return ColumnOverride(kind="ignored") if form is None else ColumnOverride(kind="time", format=form)


def order_of(table: pa.Table, schema: FeatureSchema, numeric: np.ndarray, name: str) -> np.ndarray:
    """What orders the rows by a column, float64 [N]: its seconds in a format of the schema, `numeric` being
    the rows' numbers; else as `parse_time`, which raises DataError."""
    for j, feature in enumerate(schema.numeric):
        if feature.name == name and feature.format in _REGIONAL and not np.isnan(numeric[:, j]).any():
            return numeric[:, j]
    return parse_time(table.column(name), name)


def parse_time(column: pa.ChunkedArray, name: str) -> np.ndarray:
    """What orders the rows, float64 [N]. Raises DataError naming the row for missing times, and for texts of
    another form or of mixed ones."""
    if column.null_count:
        row = pc.index(pc.is_null(column), True).as_py()
        raise DataError(f"time column {name!r}: row {row + 1} has no time")
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.timestamp("us")) if pa.types.is_date(column.type) else column
        return _ranks(column.cast(_TICKS.get(column.type, pa.int64())).to_numpy())
    if pa.types.is_integer(column.type):
        return _ranks(column.to_numpy())
    if pa.types.is_dictionary(column.type):
        return _of_texts(column.cast(pa.string()).to_pylist(), name)
    feature = Feature(name=name, kind=Kind.NUMERIC)
    arrays = to_arrays(pa.table({name: column}), FeatureSchema(features=(feature,)))
    if arrays.errors:
        row = min(arrays.errors)
        raise DataError(f"time column {name!r}, row {row + 1}: {arrays.errors[row].detail}: {MEND}")
    return np.asarray(arrays.numeric[:, 0])


def _ranks(ticks: np.ndarray) -> np.ndarray:
    """Nanoseconds are more than float64 tells apart, their ranks are not."""
    return np.unique(ticks, return_inverse=True)[1].astype(np.float64)


def _of_texts(texts: list[str], name: str) -> np.ndarray:
    """The rank of each [N]."""
    first: dict[str, int] = {}
    for row, text in enumerate(texts):
        first.setdefault(text, row)
    forms: dict[str, int] = {}
    moments: dict[str, float | datetime] = {}
    for text, row in first.items():
        form, moments[text] = _moment(text, row, name)
        forms.setdefault(form, row)
        if len(forms) > 1:
            (one, at), (other, here) = forms.items()
            raise DataError(
                f"time column {name!r} mixes forms: row {at + 1} holds {one} ({masked(texts[at])}) and row "
                f"{here + 1} {other} ({masked(texts[here])}): {MEND}, all alike"
            )
    ordered = sorted(set(moments.values()))
    lowest, highest = ordered[0], ordered[-1]
    if isinstance(lowest, float) and isinstance(highest, float) and highest > UNITS_APART * max(lowest, 1.0):
        raise DataError(
            f"time column {name!r} counts from {lowest:.0f} to {highest:.0f}, in several units as it seems: "
            "give all epoch numbers in the same"
        )
    rank = {moment: place for place, moment in enumerate(ordered)}
    return np.array([rank[moments[text]] for text in texts], np.float64)


def _moment(text: str, row: int, name: str) -> tuple[str, float | datetime]:
    """The form of a time and the time."""
    stripped = text.strip()
    if _EPOCH.fullmatch(stripped):
        return "an epoch number", float(stripped)
    try:
        if not _ISO.fullmatch(stripped):
            raise ValueError
        found = datetime.fromisoformat(re.sub(r" (?=Z|[+-]\d\d)", "", stripped).replace(",", "."))
    except ValueError:
        raise DataError(f"time column {name!r}: row {row + 1} holds {masked(text)!r}: {MEND}") from None
    if found.tzinfo is None:
        return "a time without an offset", found
    return "a time with an offset", found.astimezone(UTC)

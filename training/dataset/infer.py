"""What kind of column each one is, decided from its values alone: labels are never looked at."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nearnorm.models.data import values
from nearnorm.models.data.schema import Feature, FeatureSchema, Kind
from nearnorm.models.errors import ConfigError, DataError
from nearnorm.training.dataset.recipe import ColumnOverride

MOST_CATEGORIES = 100
FEWEST_ROWS_OF_A_CATEGORY = 2
"""A category seen once is left to the unknown bucket, which thereby learns what rarity looks like."""
FEWEST_ROWS_OF_AN_IDENTIFIER = 50
"""In fewer rows than these, distinct values say nothing."""
IDENTIFIER_SHARE = 0.9
IDENTIFIER_SPAN = 2
"""Distinct integers within a range of this many times their number: a counter, whatever the order."""
NUMBER_SHARE = 0.9
DATE_SHARE = 0.9
HALF_WAY = 0.2
"""A column whose first fifth is numbers and then is not has changed; a mixed one shows it earlier."""
NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
DATE = r"^\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T ]\d{1,2}:\d{2}.*)?$|^\d{1,2}[-/.]\d{1,2}[-/.]\d{4}([T ].*)?$"


@dataclass(frozen=True)
class Inferred:
    """A schema, and a sentence for each column that is not taken as it is."""

    schema: FeatureSchema
    warnings: tuple[str, ...]


def infer_schema(table: pa.Table, overrides: dict[str, ColumnOverride]) -> Inferred:
    """Infer every column of the table; an override's kind and nullability are taken as given.

    Raises ConfigError for an override of a column that is not there, DataError for a column that
    changes its type half-way.
    """
    for name in overrides:
        if name not in table.column_names:
            raise ConfigError(f"[schema.{name}]: the data has no column of that name")
    features, warnings = [], []
    for name in table.column_names:
        feature, warning = _feature(name, table.column(name), overrides.get(name, ColumnOverride()))
        features.append(feature)
        if warning:
            warnings.append(warning)
    schema = FeatureSchema(features=tuple(features))
    if not schema.scored:
        reasons = "; ".join(f"{f.name}: {f.reason}" for f in schema.ignored)
        raise DataError(f"no column is left to learn from ({reasons})")
    return Inferred(schema, tuple(warnings))


def _feature(name: str, column: pa.ChunkedArray, override: ColumnOverride) -> tuple[Feature, str]:
    if override.kind is None:
        kind, reason = _kind(name, column)
    else:
        kind, reason = Kind(override.kind), "left out by the configuration"
        if kind in (Kind.NUMERIC, Kind.BOOLEAN) and pa.types.is_temporal(column.type):
            raise ConfigError(f"[schema.{name}]: a date-time cannot be {kind}: give epoch seconds instead")
    nullable = True if override.nullable is None else override.nullable
    if kind is Kind.IGNORED:
        warning = f"column {name!r} is left out: {reason}" if override.kind is None else ""
        return Feature(name=name, kind=kind, reason=reason), warning
    if kind is not Kind.CATEGORICAL:
        return Feature(name=name, kind=kind, nullable=nullable), ""
    categories, warning = _categories(name, column)
    return Feature(name=name, kind=kind, nullable=nullable, categories=categories), warning


def _kind(name: str, column: pa.ChunkedArray) -> tuple[Kind, str]:
    """The kind by rule, and for an ignored column the reason."""
    kind = column.type
    present = len(column) - column.null_count
    if present == 0:
        return Kind.IGNORED, "every value is missing"
    if pa.types.is_temporal(kind):
        return Kind.IGNORED, "a date-time"
    if pa.types.is_nested(kind) or pa.types.is_binary(kind):
        return Kind.IGNORED, f"values of type {kind} cannot be scored"
    distinct, counts = _counted(column)
    if len(distinct) == 1 and present == len(column):
        return Kind.IGNORED, "constant"
    if pa.types.is_boolean(kind):
        return Kind.BOOLEAN, ""
    if pa.types.is_string(distinct.type):
        return _kind_of_text(name, column, distinct, counts)
    if pa.types.is_integer(kind) and len(distinct) == present and _is_counter(column, present):
        return Kind.IGNORED, "an identifier: every value is different, as a counter's are"
    return Kind.NUMERIC, ""


def _is_counter(column: pa.ChunkedArray, present: int) -> bool:
    """All values differ: do they fill their range, or rise from row to row, as measurements do not?"""
    if present < FEWEST_ROWS_OF_AN_IDENTIFIER:
        return False
    bounds = pc.min_max(column).as_py()
    if bounds["max"] - bounds["min"] < IDENTIFIER_SPAN * present:
        return True
    ordered = column.drop_null().to_numpy()
    return bool((ordered[1:] > ordered[:-1]).all())


def _kind_of_text(
    name: str, column: pa.ChunkedArray, distinct: pa.Array, counts: np.ndarray
) -> tuple[Kind, str]:
    present = int(counts.sum())
    if len(distinct) <= 2 and {text.lower() for text in distinct.to_pylist()} <= {"true", "false"}:
        return Kind.BOOLEAN, ""
    numbers = _matches(distinct, NUMBER)
    share = counts[numbers].sum() / present
    if share == 1.0:
        return (Kind.NUMERIC if len(distinct) > MOST_CATEGORIES else Kind.CATEGORICAL), ""
    if share > 0.0:
        _refuse_half_numbers(name, column, distinct.filter(pa.array(~numbers)), share)
    if counts[_matches(distinct, DATE)].sum() >= DATE_SHARE * present:
        return Kind.IGNORED, "a date-time"
    if len(distinct) >= IDENTIFIER_SHARE * present and present >= FEWEST_ROWS_OF_AN_IDENTIFIER:
        return Kind.IGNORED, "an identifier or free text: nearly every value is different"
    return Kind.CATEGORICAL, ""


def _matches(texts: pa.Array, pattern: str) -> np.ndarray:
    matched: np.ndarray = pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False)
    return matched


def _refuse_half_numbers(name: str, column: pa.ChunkedArray, texts: pa.Array, share: float) -> None:
    row = pc.index(pc.is_in(column.cast(pa.string()), texts), True).as_py()
    if share >= NUMBER_SHARE or row >= HALF_WAY * len(column):
        raise DataError(
            f"column {name!r} changes its type: row {row + 1} holds {column[row].as_py()!r} where others "
            f'hold numbers: mend the row, or set kind = "categorical" in [schema.{name}]'
        )


def _counted(column: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    """The distinct values that are not missing, and the rows of each."""
    counted = pc.value_counts(column.drop_null())
    distinct = counted.field("values")
    if pa.types.is_dictionary(distinct.type):
        distinct = distinct.dictionary_decode()
    return distinct, counted.field("counts").to_numpy()


def _categories(name: str, column: pa.ChunkedArray) -> tuple[tuple[str, ...], str]:
    """The most frequent categories, ties by name, and a warning where some are left out."""
    counts: dict[str, int] = {}
    distinct, rows = _counted(column)
    for value, n in zip(distinct.to_pylist(), rows.tolist(), strict=True):
        category = values.category(value)
        if category is not None:
            counts[category] = counts.get(category, 0) + n
    kept = [c for c, n in counts.items() if n >= FEWEST_ROWS_OF_A_CATEGORY] or list(counts)
    kept = sorted(kept, key=lambda c: (-counts[c], c))
    if len(kept) <= MOST_CATEGORIES:
        return tuple(kept), ""
    kept = kept[:MOST_CATEGORIES]
    covered = sum(counts[c] for c in kept) / sum(counts.values())
    return tuple(kept), (
        f"column {name!r} has {len(counts):,} categories: the {MOST_CATEGORIES} most frequent, "
        f"{covered:.1%} of its values, are kept and the others are scored as unknown"
    )

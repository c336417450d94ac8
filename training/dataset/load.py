"""A data file -> typed columns, labels, and an honest split into rows to train on and rows to judge by."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from nearnorm.models.bundle.manifest import DataFacts, Reading
from nearnorm.models.data.files.parts import open_parts
from nearnorm.models.data.files.read import ignore, read_table
from nearnorm.models.data.match import absent_columns
from nearnorm.models.data.schema import FIRST_CODE, FeatureSchema
from nearnorm.models.data.tables import Arrays, to_arrays
from nearnorm.models.data.toml_text import quoted
from nearnorm.models.errors import ConfigError, DataError
from nearnorm.models.some_of import some_of
from nearnorm.training.dataset.columns.infer import Finding, infer_schema
from nearnorm.training.dataset.labels import ANOMALY, NORMAL, UNLABELLED, parse_labels, to_learn_from
from nearnorm.training.dataset.lake.draw import Told, keep, untold
from nearnorm.training.dataset.lake.engine import LakeEngine, in_this_process
from nearnorm.training.dataset.recipe import ColumnOverride
from nearnorm.training.dataset.times import as_time, order_of

REFERENCE_SHARE = 0.2
REFERENCE_FLOOR = 200
"""Of small data half may be held out, up to this many rows: fewer give no percentile to alert by."""
REFERENCE_CEILING = 10_000
FEWEST_ROWS = 10
MOST_LISTED = 8
"""Columns that a mistake names."""
AS_FOUND = Reading()


@dataclass(frozen=True)
class Dataset:
    """N records with their labels [N] int8 (1 anomaly, 0 normal, -1 unlabelled).

    `time` [N] orders the rows where a time column was named.
    """

    schema: FeatureSchema
    numeric: np.ndarray
    codes: np.ndarray
    labels: np.ndarray
    time: np.ndarray | None
    facts: DataFacts
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...]

    @property
    def cardinalities(self) -> tuple[int, ...]:
        return tuple(FIRST_CODE + len(f.categories) for f in self.schema.categorical)


@dataclass(frozen=True)
class Split:
    """Row indices: `fit` is trained on; `reference` is held out and has no labelled anomaly. `sample` is the
    digest of the file that the reference is from, where its rows are known to be normal."""

    fit: np.ndarray
    reference: np.ndarray
    sample: str | None = None


def load(
    source: str,
    label_column: str,
    overrides: dict[str, ColumnOverride] | None = None,
    time_column: str | None = None,
    older: FeatureSchema | None = None,
    reading: Reading = AS_FOUND,
    told: Told = untold,
    engine: LakeEngine = in_this_process,
    *,
    labels_as_they_are: bool = False,
) -> Dataset:
    """Read data files for training; kinds of an `older` schema go on as they are. Of more rows than
    `reading` keeps some are drawn, by the `engine`, and `told` how many have been read. Where every row is
    labelled, 0 counts as unlabelled, unless `labels_as_they_are`.

    Raises DataError or ConfigError naming the column and the row.
    """
    overrides = overrides or {}
    if label_column in overrides:
        raise ConfigError(
            f"[schema.{quoted(label_column)}]: the column holds the labels: leave the table out"
        )
    declared = [name for name, override in overrides.items() if override.is_text]
    text = declared + ([] if older is None else [feature.name for feature in older.categorical])
    warnings: list[str] = []
    known: frozenset[str] = frozenset() if older is None else older.names
    named = {label_column, *overrides, *known, *([] if time_column is None else [time_column])}
    parts = open_parts(source, text, reading.files, warnings.append, named)
    for name, option in ((label_column, "--label-column"), (time_column, "--time-column")):
        if name is not None and name not in parts.names:
            raise _no_column(source, parts.names, name, option)
    if len(parts.names) < 2:
        raise DataError(
            f"{source} has one column: records need at least one feature beside their label "
            "(where it holds more, give --csv-separator)"
        )
    kept = keep(parts, label_column, reading, told, engine)
    labels = parse_labels(kept.table.column(label_column), label_column, reading)
    if not labels_as_they_are and not np.array_equal(labels, taken := to_learn_from(labels)):
        labels = taken
        warnings.append(
            f"label column {label_column!r}: every row is labelled, so 0 counts as unlabelled: what is "
            "normal is learnt from rows that nobody has looked at"
        )
    features = kept.table.drop_columns([label_column])
    with kept.told_apart():
        data = typed(source, features, labels, label_column, overrides, time_column, older, kept.drawn_from)
    return replace(data, warnings=(*warnings, *data.warnings))


def typed(
    source: str,
    features: pa.Table,
    labels: np.ndarray,
    label_column: str,
    overrides: dict[str, ColumnOverride],
    time_column: str | None = None,
    older: FeatureSchema | None = None,
    drawn_from: int | None = None,
) -> Dataset:
    """The columns of N records, as `read_table` gives them, and their labels [N] int8 -> what training reads.

    `label_column` is what the bundle calls the labels; the unlabelled rows are all there are, or were
    `drawn_from` so many. Raises DataError or ConfigError naming the column and
    the row.
    """
    _refuse_categories(features, [name for name, override in overrides.items() if override.is_text])
    known: frozenset[str] = frozenset() if older is None else older.names
    if time_column is not None and time_column not in {*overrides, *known}:
        overrides = {**overrides, time_column: as_time(features.column(time_column), time_column)}
    rows, unlabelled = len(labels), int((labels == UNLABELLED).sum())
    in_all = rows if drawn_from is None else rows - unlabelled + drawn_from
    inferred = infer_schema(features, overrides, older, in_all)
    schema = inferred.schema
    arrays = to_arrays(features, schema)
    refuse_bad_rows(source, arrays)
    time = None if time_column is None else order_of(features, schema, arrays.numeric, time_column)
    return Dataset(
        schema=schema,
        numeric=arrays.numeric,
        codes=arrays.codes,
        labels=labels,
        time=time,
        facts=DataFacts(
            digest=digest_of(schema, arrays.numeric, arrays.codes, labels, time),
            label_column=label_column,
            time_column=time_column,
            rows=rows,
            anomalies=int((labels == ANOMALY).sum()),
            normals=int((labels == NORMAL).sum()),
            unlabelled=unlabelled,
            drawn_from=drawn_from,
        ),
        findings=inferred.findings,
        warnings=inferred.warnings,
    )


def load_labelled(
    source: str,
    label_column: str,
    schema: FeatureSchema,
    reading: Reading = AS_FOUND,
    warn: Callable[[str], object] = ignore,
) -> tuple[Arrays, np.ndarray]:
    """Read a file by the schema of a model, and its labels [N]. Raises DataError, also where most of the
    schema's columns are not in it."""
    known = {label_column, *schema.names}
    table = read_table(source, [f.name for f in schema.categorical], reading.files, warn, known)
    for sentence in absent_columns(source, table.column_names, schema):
        warn(sentence)
    if label_column not in table.column_names:
        raise _no_column(source, table.column_names, label_column, "--label-column")
    labels = parse_labels(table.column(label_column), label_column, reading, every=False)
    arrays = to_arrays(table.drop_columns([label_column]), schema)
    refuse_bad_rows(source, arrays)
    return arrays, labels


def _refuse_categories(table: pa.Table, declared: list[str]) -> None:
    for name in declared:
        kind = table.schema.field(name).type if name in table.column_names else pa.null()
        if pa.types.is_nested(kind) or pa.types.is_temporal(kind) or pa.types.is_binary(kind):
            raise ConfigError(
                f"[schema.{name}]: values of type {kind} cannot be categorical: ignore the column"
            )


def _no_column(source: str, names: Sequence[str], name: str, option: str) -> DataError:
    return DataError(f"{source} has no column {name!r} (it has {some_of(names, MOST_LISTED)}): give {option}")


def refuse_bad_rows(source: str, arrays: Arrays) -> None:
    """Raise DataError for the first row that cannot be converted."""
    if arrays.errors:
        row = min(arrays.errors)
        error = arrays.errors[row]
        more = f" ({len(arrays.errors):,} rows are bad)" if len(arrays.errors) > 1 else ""
        raise DataError(f"{source}: column {error.field!r}, row {row + 1}: {error.detail}{more}")


def split(data: Dataset, seed: int) -> Split:
    """Hold out reference rows: random ones, or the last ones by time.

    They are unlabelled; where those are too few, confirmed normals stand in for half of the number.
    Labelled anomalies and the other confirmed normals are all left to training. Raises DataError.
    """
    refuse_unfit_for_training(data)
    unlabelled = np.flatnonzero(data.labels == UNLABELLED)
    normals = np.flatnonzero(data.labels == NORMAL)
    rows = len(unlabelled) + len(normals)
    wanted = min(max(round(REFERENCE_SHARE * rows), min(REFERENCE_FLOOR, rows // 2)), REFERENCE_CEILING)
    rng = np.random.default_rng([seed, 1])
    unlabelled, normals = (_last_first(rows, data.time, rng) for rows in (unlabelled, normals))
    from_unlabelled = min(wanted, len(unlabelled) // 2)
    reference = np.concatenate(
        [unlabelled[:from_unlabelled], normals[: min(wanted - from_unlabelled, len(normals) // 2)]]
    )
    fit = np.setdiff1d(np.arange(len(data.labels)), reference)
    return Split(fit=fit, reference=np.sort(reference))


def refuse_unfit_for_training(data: Dataset) -> None:
    """Raise DataError for fewer than FEWEST_ROWS rows that are no labelled anomalies, or none unlabelled."""
    unlabelled = int((data.labels == UNLABELLED).sum())
    if not unlabelled:
        raise DataError(
            f"label column {data.facts.label_column!r}: none of {len(data.labels)} rows is unlabelled: what "
            "is normal is learnt from rows that nobody has looked at, so leave their label empty"
        )
    rows = unlabelled + int((data.labels == NORMAL).sum())
    if rows < FEWEST_ROWS:
        raise DataError(
            f"the data has {rows} rows that are not labelled anomalies: {FEWEST_ROWS} are the least"
        )


def _last_first(rows: np.ndarray, time: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    shuffled = rng.permutation(rows)
    if time is None:
        return shuffled
    return shuffled[np.argsort(-time[shuffled], kind="stable")]


def digest_of(schema: FeatureSchema, *arrays: np.ndarray | None) -> str:
    """Of rows and what belongs to them, and of the schema that they were read by."""
    sha = hashlib.sha256(schema.digest.encode())
    for array in arrays:
        if array is not None:
            sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()

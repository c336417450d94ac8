"""Rows that are known to be normal: the reference, in place of held-out rows that may hide anomalies."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from nearnorm.models.bundle.manifest import Reading
from nearnorm.models.data.files.parts import open_parts
from nearnorm.models.data.schema import FeatureSchema
from nearnorm.models.data.tables import to_arrays
from nearnorm.models.errors import DataError
from nearnorm.training.dataset.equal import row_keys
from nearnorm.training.dataset.labels import ANOMALY, NORMAL, LabelWords
from nearnorm.training.dataset.lake.draw import Told, keep, untold
from nearnorm.training.dataset.lake.engine import LakeEngine, in_this_process
from nearnorm.training.dataset.load import (
    AS_FOUND,
    FEWEST_ROWS,
    REFERENCE_CEILING,
    Dataset,
    Split,
    digest_of,
    refuse_bad_rows,
    refuse_unfit_for_training,
)

OVERLAP = 0.1
"""A larger share of rows than this, beyond what rows of the data have equals by chance, are no accident."""


@dataclass(frozen=True)
class KnownNormal:
    """R rows of the file `source`: `numeric` [R, Dn], `codes` [R, Dc]; `digest` is of them and the schema."""

    source: str
    numeric: np.ndarray
    codes: np.ndarray
    digest: str


def load_known_normal(
    source: str,
    label_column: str,
    schema: FeatureSchema,
    reading: Reading = AS_FOUND,
    told: Told = untold,
    engine: LakeEngine = in_this_process,
) -> KnownNormal:
    """Read files by the schema of a model. They need no labels; a row that is labelled an anomaly is refused.
    Of more rows than `reading` keeps unlabelled ones so many are drawn, by the `engine`.

    Raises DataError naming the column and the row.
    """
    known = {label_column, *schema.names}
    parts = open_parts(source, [f.name for f in schema.categorical], reading.files, known=known)
    if label_column in parts.names:
        words = LabelWords(label_column)
        for part in parts.read([label_column]):
            words.add(part.column(label_column))
        meanings = words.meanings(reading, every=False)
        anomalies = [words.first[word] for word, meaning in meanings.items() if meaning == ANOMALY]
        if anomalies:
            raise DataError(
                f"{source}: row {min(anomalies) + 1} is labelled an anomaly: a reference holds rows that are "
                "known to be normal, and no others"
            )
        parts = parts.without(label_column)
    kept = keep(parts, None, reading, told, engine)
    with kept.told_apart():
        return known_normal(source, kept.table, schema)


def known_normal(source: str, table: pa.Table, schema: FeatureSchema) -> KnownNormal:
    """Rows without labels, all known to be normal, by the schema of a model. Raises DataError naming the
    column and the row."""
    missing = [f.name for f in schema.scored if f.name not in table.column_names]
    if missing:
        raise DataError(f"{source} has no column {missing[0]!r}: a reference has every column that is scored")
    if table.num_rows < FEWEST_ROWS:
        raise DataError(f"{source} has {table.num_rows} rows: {FEWEST_ROWS} are the least for a reference")
    arrays = to_arrays(table, schema)
    refuse_bad_rows(source, arrays)
    digest = digest_of(schema, arrays.numeric, arrays.codes)
    return KnownNormal(source, arrays.numeric, arrays.codes, digest)


def overlap(data: Dataset, sample: KnownNormal) -> str | None:
    """A sentence where rows of the sample seem to be trained on as well; equal rows by chance are none."""
    both = shared_rows(data, sample.numeric, sample.codes)
    if not both:
        return None
    return (
        f"{both:,} of {len(sample.numeric):,} rows of the reference {sample.source} are trained on too, and "
        "look more normal than new ones will: expect more false alerts than the budget, or leave them out "
        "of the training data"
    )


def shared_rows(data: Dataset, numeric: np.ndarray, codes: np.ndarray) -> int:
    """How many rows of another file are equal to rows of the data; 0 where chance may explain it."""
    counts = Counter(row_keys(data.numeric, data.codes))
    both = sum(key in counts for key in row_keys(numeric, codes))
    by_chance = sum(count for count in counts.values() if count > 1) / len(data.labels)
    return 0 if both <= (by_chance + OVERLAP) * len(numeric) else both


def judged_by(data: Dataset, sample: KnownNormal, seed: int) -> tuple[Dataset, Split]:
    """Train on all of `data`, judge by the sample: its rows are appended, as confirmed normals.

    A row of it that is labelled an anomaly in the data is left out; of more than REFERENCE_CEILING rows so
    many are drawn. Raises DataError where nothing is left.
    """
    refuse_unfit_for_training(data)
    bad = data.labels == ANOMALY
    anomalous = set(row_keys(data.numeric[bad], data.codes[bad]))
    keys = row_keys(sample.numeric, sample.codes)
    rows = np.array([i for i, key in enumerate(keys) if key not in anomalous], int)
    if not len(rows):
        raise DataError(f"every row of the reference {sample.source} is labelled an anomaly")
    if len(rows) > REFERENCE_CEILING:
        drawn = np.random.default_rng([seed, 4]).choice(rows, REFERENCE_CEILING, replace=False)
        rows = np.sort(drawn)
    count = len(data.labels)
    time = None if data.time is None else np.concatenate([data.time, np.full(len(rows), np.nan)])
    joined = replace(
        data,
        numeric=np.concatenate([data.numeric, sample.numeric[rows]]),
        codes=np.concatenate([data.codes, sample.codes[rows]]),
        labels=np.concatenate([data.labels, np.full(len(rows), NORMAL, np.int8)]),
        time=time,
    )
    reference = np.arange(count, count + len(rows))
    return joined, Split(fit=np.arange(count), reference=reference, sample=sample.digest)

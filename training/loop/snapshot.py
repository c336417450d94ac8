"""What a retraining learns from: base data, recent traffic, and analysts' labels, by one schema.

The schema is inferred from the base data alone, as `nearnorm train` does; records of the ledger are
converted by it. A record that the base data holds too is labelled there, not added a second time.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from nearnorm.models.bundle.manifest import DataFacts
from nearnorm.models.data.schema import FeatureSchema
from nearnorm.models.data.tables import Arrays, to_arrays
from nearnorm.models.errors import DataError
from nearnorm.models.retraining import Verdict
from nearnorm.training.dataset.equal import row_keys
from nearnorm.training.dataset.labels import ANOMALY, NORMAL, UNLABELLED
from nearnorm.training.dataset.load import Dataset


@dataclass(frozen=True)
class Snapshot:
    """`data` is base rows, then traffic, then labelled records that the base does not hold.

    `place` [V] is the row of each verdict, -1 where its record does not fit the schema; `traffic` is the
    slice of all traffic rows [T] as arrays, and `confirmed` [T] is true where an analyst's verdict on such a
    record is that it is an anomaly. `known` [N] are the labels that the champion learnt, `present` [N]
    the rows it may have seen. The last `added` rows are the labelled records that the base does not hold.
    `problems` are sentences about what was left out.
    """

    data: Dataset
    place: np.ndarray
    traffic: Arrays
    confirmed: np.ndarray
    known: np.ndarray
    present: np.ndarray
    added: int
    problems: tuple[str, ...]
    digest: str


def check_columns(source: str, schema: FeatureSchema, champion: FeatureSchema) -> None:
    """Raises DataError where the base data lost a column, or a column's kind, that the champion scores."""
    now = {feature.name: feature.kind for feature in schema.features}
    for feature in champion.scored:
        if feature.name not in now:
            raise DataError(
                f"{source} has no column {feature.name!r} any more, which the champion scores: put it back, "
                "or train anew with `nearnorm train` and activate that"
            )
        if now[feature.name] is not feature.kind:
            raise DataError(
                f"{source}: column {feature.name!r} was {feature.kind} and is {now[feature.name]} now: "
                "mend the data, or train anew with `nearnorm train` and activate that"
            )


def take(base: Dataset, records: Sequence[Mapping[str, Any]], verdicts: Sequence[Verdict]) -> Snapshot:
    """Put base data, traffic records and verdicts together."""
    traffic = convert(records, base.schema)
    labelled = convert([verdict.record for verdict in verdicts], base.schema)
    fits, problems = _fitting(labelled, verdicts)

    at: dict[bytes, list[int]] = {}
    for row, key in enumerate(row_keys(base.numeric, base.codes)):
        at.setdefault(key, []).append(row)
    keys = row_keys(labelled.numeric, labelled.codes)
    verdict_of = {keys[i]: verdicts[i].anomaly for i in np.flatnonzero(fits).tolist()}
    fresh, known_already = [], {*at, *verdict_of}
    traffic_keys = row_keys(traffic.numeric, traffic.codes)
    for row, key in enumerate(traffic_keys):
        if row not in traffic.errors and key not in known_already:
            fresh.append(row)
            known_already.add(key)  # a record that is scored again and again is no new evidence
    added = [i for i in np.flatnonzero(fits).tolist() if keys[i] not in at]
    confirmed = np.array([verdict_of.get(key, False) for key in traffic_keys], bool)

    first, rows = len(base.labels) + len(fresh), len(base.labels) + len(fresh) + len(added)
    labels = np.full(rows, UNLABELLED, np.int8)
    labels[: len(base.labels)] = base.labels
    known, present = labels.copy(), np.ones(rows, bool)
    place = np.full(len(verdicts), -1)
    place[added] = np.arange(first, rows)
    for i in np.flatnonzero(fits).tolist():
        verdict = verdicts[i]
        same = at.get(keys[i], [int(place[i])])
        place[i] = same[0]
        labels[same] = ANOMALY if verdict.anomaly else NORMAL
        if verdict.known:
            known[same] = labels[same]
        elif same[0] >= first:
            present[same] = False

    numeric = np.concatenate([base.numeric, traffic.numeric[fresh], labelled.numeric[added]])
    codes = np.concatenate([base.codes, traffic.codes[fresh], labelled.codes[added]])
    time = None
    if base.time is not None:  # what came in since is the newest there is
        time = np.concatenate([base.time, np.full(rows - len(base.labels), base.time.max())])
    digest = _digest(base, numeric, codes, labels)
    facts = _facts(base, labels, digest)
    data = replace(base, numeric=numeric, codes=codes, labels=labels, time=time, facts=facts)
    return Snapshot(data, place, traffic, confirmed, known, present, len(added), problems, digest)


def convert(records: Sequence[Mapping[str, Any]], schema: FeatureSchema) -> Arrays:
    """The ledger's records [N] as a model sees them; those that do not fit are among the errors."""
    columns = {
        feature.name: _column([record.get(feature.name) for record in records]) for feature in schema.scored
    }
    return to_arrays(pa.table(columns), schema)


def _facts(base: Dataset, labels: np.ndarray, digest: str) -> DataFacts:
    unlabelled, drawn_from = int((labels == UNLABELLED).sum()), base.facts.drawn_from
    if drawn_from is not None:
        drawn_from += unlabelled - base.facts.unlabelled
    return base.facts.model_copy(
        update={
            "digest": digest,
            "base_digest": base.facts.digest,
            "rows": len(labels),
            "anomalies": int((labels == ANOMALY).sum()),
            "normals": int((labels == NORMAL).sum()),
            "unlabelled": unlabelled,
            "drawn_from": drawn_from,
        }
    )


def _column(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # numbers among texts: the schema was another once
        return pa.array([value if value is None else str(value) for value in values])


def _fitting(labelled: Arrays, verdicts: Sequence[Verdict]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Which verdicts [V] can be learnt from, and sentences about the others."""
    fits = np.asarray(~labelled.missing.all(axis=1))
    problems = []
    for i, verdict in enumerate(verdicts):
        if i in labelled.errors:
            fits[i] = False
            error = labelled.errors[i]
            problems.append(f"label {verdict.feedback_id} is left out: {error.field}: {error.detail}")
        elif not fits[i]:
            problems.append(f"label {verdict.feedback_id} is left out: it has no feature of the base data")
    return fits, tuple(problems)


def _digest(base: Dataset, numeric: np.ndarray, codes: np.ndarray, labels: np.ndarray) -> str:
    sha = hashlib.sha256(base.facts.digest.encode())
    for array in (numeric, codes, labels):
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()

"""Whose labels the gate takes for the truth, and the trust set: those of them that no retraining learns from.

A label is *shared* where no single labeller's word alone stands for it: it is of the base data, or two API
keys brought it. It is *trusted* where it is shared, or the champion knew it already. A new word of one key
alone trains, and is never the yardstick. Where several keys label, what one of them alone said weighs
together at most as much as all that is shared, so that nobody becomes the yardstick by saying much.

Which records are in the trust set is fixed by their digests, never by a model, and it grows with the labels.
It begins when it has enough trusted anomalies; before that every label trains, and the gate goes by
cross-fitting. A group that was judged as one is in it as a whole, and one of its records counts.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nearnorm.models.data.digest import record_digest
from nearnorm.models.data.records import records
from nearnorm.models.retraining import Verdict
from nearnorm.training.dataset.labels import ANOMALY, UNLABELLED
from nearnorm.training.dataset.load import Dataset
from nearnorm.training.loop.groups import drawn_by, who_speaks

FEWEST = 20
"""Trusted anomalies without which there is no trust set."""
SHARE = 0.25
"""Of the labelled records, those that may be held out."""
FEWEST_SHARED = 5
"""What one key alone said weighs as much as so many shared anomalies, where there are fewer."""


@dataclass(frozen=True)
class TrustSet:
    """Of the N rows of a dataset: `trusted` and `shared` [N], see above; `weight` [N], how much a trusted
    label weighs; and `held_out` [N], the rows that do not train."""

    trusted: np.ndarray
    shared: np.ndarray
    weight: np.ndarray
    held_out: np.ndarray


def is_drawn(digest: str) -> bool:
    """Whether a record belongs to the trust set once there is one: fixed by its digest."""
    return int(digest[:8], 16) < SHARE * 2**32


def draw(data: Dataset, place: np.ndarray, verdicts: Sequence[Verdict]) -> TrustSet:
    """`place` [V] is the row of each verdict, or -1."""
    shared = data.labels != UNLABELLED
    trusted = shared.copy()
    drawn = np.zeros(len(shared), bool)
    has_verdict = np.zeros(len(shared), bool)
    speaks = who_speaks(verdicts)
    for verdict, row, counts in zip(verdicts, place.tolist(), speaks.tolist(), strict=True):
        if row >= 0:
            has_verdict[row] = True
            shared[row] = counts and verdict.key is None
            trusted[row] = counts and (verdict.known or verdict.key is None)
            drawn[row] = is_drawn(drawn_by(verdict))
    base = np.flatnonzero(shared & ~has_verdict)
    for row, record in zip(
        base.tolist(), records(data.schema, data.numeric[base], data.codes[base], {}), strict=True
    ):
        drawn[row] = is_drawn(record_digest(record))
    anomalous = data.labels == ANOMALY
    enough = int((drawn & trusted & anomalous).sum()) >= FEWEST
    weight = _weights(int((shared & anomalous).sum()), len(shared), place, verdicts, speaks)
    return TrustSet(trusted, shared, weight, drawn if enough else np.zeros(len(drawn), bool))


def _weights(
    shared: int, rows: int, place: np.ndarray, verdicts: Sequence[Verdict], speaks: np.ndarray
) -> np.ndarray:
    """1, and less for what a key alone said of more anomalies than are `shared`, where several keys label; 0
    for the records of a group that do not speak."""
    weight = np.ones(rows)
    counted = [verdict for verdict, counts in zip(verdicts, speaks, strict=True) if counts]
    said = Counter(verdict.key for verdict in counted if verdict.known and verdict.anomaly)
    is_one_alone = len({verdict.key for verdict in verdicts}) < 2
    most = max(shared, FEWEST_SHARED)
    for verdict, row, counts in zip(verdicts, place.tolist(), speaks.tolist(), strict=True):
        if row < 0:
            continue
        if not counts:
            weight[row] = 0.0
        elif verdict.key is not None and not is_one_alone:
            weight[row] = min(1.0, most / max(said[verdict.key], 1))
    return weight

"""The trust set: labelled records that no retraining learns from, so that the gate can judge by them.

Which records are in it is fixed by their digests, never by a model, and grows with the labels. It begins when
it has enough trusted anomalies; before that every label trains, and the gate goes by cross-fitting.

A label is trusted where it is not a new word of one labeller alone: it stands in the base data, the champion
knew it, two labellers agree on it, or its record is of the random slice, which nobody chose.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nearnorm.models.data.digest import record_digest
from nearnorm.models.data.records import records
from nearnorm.models.retraining import Verdict
from nearnorm.training.dataset.labels import ANOMALY, UNLABELLED
from nearnorm.training.dataset.load import Dataset

FEWEST = 20
"""Trusted anomalies without which there is no trust set."""
SHARE = 0.25
"""Of the labelled records, those that may be held out."""


@dataclass(frozen=True)
class TrustSet:
    """Of the N rows of a dataset: `trusted` [N], whose label the gate takes for the truth, and `held_out`
    [N], the rows that do not train."""

    trusted: np.ndarray
    held_out: np.ndarray


def is_drawn(digest: str) -> bool:
    """Whether a record belongs to the trust set once there is one: fixed by its digest."""
    return int(digest[:8], 16) < SHARE * 2**32


def draw(data: Dataset, place: np.ndarray, verdicts: Sequence[Verdict]) -> TrustSet:
    """`place` [V] is the row of each verdict, or -1."""
    trusted = data.labels != UNLABELLED
    drawn = np.zeros(len(trusted), bool)
    has_verdict = np.zeros(len(trusted), bool)
    for verdict, row in zip(verdicts, place.tolist(), strict=True):
        if row >= 0:
            has_verdict[row] = True
            trusted[row] = verdict.known or verdict.shared or verdict.random
            drawn[row] = is_drawn(verdict.digest)
    base = np.flatnonzero(trusted & ~has_verdict)
    for row, record in zip(
        base.tolist(), records(data.schema, data.numeric[base], data.codes[base], {}), strict=True
    ):
        drawn[row] = is_drawn(record_digest(record))
    enough = int((drawn & trusted & (data.labels == ANOMALY)).sum()) >= FEWEST
    return TrustSet(trusted, drawn if enough else np.zeros(len(drawn), bool))

"""What the gate judges by: held-out ranks of labelled rows, by either side.

Either both sides' bundles rank the trust set, or both sides' recipes rank every label by cross-fitting.
"""

from collections.abc import Sequence

import numpy as np

from nearnorm.models.retraining import Verdict
from nearnorm.training.dataset.labels import ANOMALY
from nearnorm.training.evaluation.crossfit import CrossFit
from nearnorm.training.loop.gate import FEWEST_TRUSTED, Confirmed, Ranked

Sides = tuple[CrossFit, CrossFit]
"""Champion and challenger: the same labelled rows in the same order."""


def weights(rows: int, place: np.ndarray, verdicts: Sequence[Verdict]) -> np.ndarray:
    """One over the probability that a record like it is kept, for each of N `rows`. `place` [V] is the row of
    each verdict, or -1."""
    weight = np.ones(rows)
    for verdict, row in zip(verdicts, place, strict=True):
        if row >= 0:
            weight[row] = 1 / verdict.probability
    return weight


def rank_among_reference(
    labels: np.ndarray, weight: np.ndarray, trusted: np.ndarray, sides: Sides, of_artefact: bool
) -> Ranked | None:
    """The trusted labels among the reference rows, which count once each; all labels where hardly any
    is trusted, None where none of them is an anomaly. `labels`, `weight`, `trusted` are of N rows."""
    champion, challenger = sides
    rows = champion.rows
    anomalous = labels[rows] == ANOMALY
    is_enough = int((anomalous & trusted[rows]).sum()) >= FEWEST_TRUSTED
    counts = trusted[rows] if is_enough else np.ones(len(rows), bool)
    if not anomalous.any():
        return None
    rows = rows[counts]
    fits, reference = challenger.reference_rank.shape
    return Ranked(
        truth=np.concatenate([(labels[rows] == ANOMALY).astype(int), np.zeros(fits * reference, int)]),
        weight=np.concatenate([weight[rows], np.full(fits * reference, 1 / fits)]),
        unit=np.concatenate([np.arange(len(rows)), len(rows) + np.tile(np.arange(reference), fits)]),
        champion=np.concatenate([champion.rank[counts], champion.reference_rank.ravel()]),
        challenger=np.concatenate([challenger.rank[counts], challenger.reference_rank.ravel()]),
        of_artefact=of_artefact,
        trusted=is_enough,
    )


def confirmed(
    place: np.ndarray, verdicts: Sequence[Verdict], measured: Sequence[Sides]
) -> tuple[Confirmed, ...]:
    """The records of verdicts that were held out on either side, with both ranks."""
    rank_of = {
        row: (was, now)
        for champion, challenger in measured
        for row, was, now in zip(
            champion.rows.tolist(), champion.rank.tolist(), challenger.rank.tolist(), strict=True
        )
    }
    return tuple(
        Confirmed(verdict.feedback_id, verdict.anomaly, *rank_of[row])
        for verdict, row in zip(verdicts, place.tolist(), strict=True)
        if row in rank_of
    )

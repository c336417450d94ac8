"""What the gate judges by: held-out ranks of labelled rows, by either side.

Both sides' bundles rank the trust set, once there is one, and both sides' recipes rank the labels that train
by cross-fitting.
"""

from collections.abc import Sequence

import numpy as np

from nearnorm.models.retraining import Verdict
from nearnorm.training.dataset.labels import ANOMALY
from nearnorm.training.evaluation.crossfit import CrossFit
from nearnorm.training.loop.gate import FEWEST_NORMALS, FEWEST_TRUSTED, Confirmed, Ranked
from nearnorm.training.loop.groups import who_speaks

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


def say_only_normal(verdicts: Sequence[Verdict]) -> bool:
    """Whether all that single labellers newly said is "normal", and they said much."""
    counted = zip(verdicts, who_speaks(verdicts), strict=True)
    new = [verdict for verdict, speaks in counted if speaks and not verdict.known and verdict.key is not None]
    return len(new) >= FEWEST_NORMALS and not any(verdict.anomaly for verdict in new)


def rank_among_reference(
    labels: np.ndarray, weight: np.ndarray, trusted: np.ndarray, measured: Sequence[Sides], artefacts: int
) -> Ranked | None:
    """The trusted labels, of each of `measured`, among the reference rows of the first, which count once
    each; all labels where hardly any is trusted, None where none of them is an anomaly. `labels`, `weight`,
    `trusted` are of N rows; the first `artefacts` of `measured` are bundles, the others recipes."""
    if not measured:
        return None
    rows = np.concatenate([champion.rows for champion, _ in measured])
    anomalous = labels[rows] == ANOMALY
    if not anomalous.any():
        return None
    is_enough = int((anomalous & trusted[rows]).sum()) >= FEWEST_TRUSTED
    is_counted = trusted[rows] if is_enough else np.ones(len(rows), bool)
    by_artefact = sum(len(champion.rows) for champion, _ in measured[:artefacts])
    fits, reference = measured[0][1].reference_rank.shape
    ranks = [
        np.concatenate(
            [
                np.concatenate([sides[side].rank for sides in measured])[is_counted],
                measured[0][side].reference_rank.ravel(),
            ]
        )
        for side in (0, 1)
    ]
    rows = rows[is_counted]
    return Ranked(
        truth=np.concatenate([(labels[rows] == ANOMALY).astype(int), np.zeros(fits * reference, int)]),
        weight=np.concatenate([weight[rows], np.full(fits * reference, 1 / fits)]),
        unit=np.concatenate([np.arange(len(rows)), len(rows) + np.tile(np.arange(reference), fits)]),
        champion=ranks[0],
        challenger=ranks[1],
        by_artefact=int(anomalous[:by_artefact][is_counted[:by_artefact]].sum()),
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

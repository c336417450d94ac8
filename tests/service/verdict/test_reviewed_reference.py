"""Anomalies that people find in the reference leave it."""

import numpy as np

from nearnorm.models.bundle.manifest import Reference, ReviewRow
from nearnorm.service.verdict.reviewed_reference import reviewed_scores

REFERENCE = Reference(
    rows=5,
    scores=(0.1, 0.2, 0.3, 0.8, 0.9),
    distance_high=1.0,
    residual_high={},
    numeric={},
    categorical={},
    prototype_shares=(1.0,),
    review=tuple(ReviewRow(score=s, digest=d) for s, d in ((0.9, "a"), (0.8, "b"), (0.3, "a"))),
)


def test_every_row_with_a_confirmed_record_leaves_and_no_other() -> None:
    expected = np.array([0.1, 0.2, 0.8], np.float32)
    np.testing.assert_array_equal(reviewed_scores(REFERENCE, {"a", "unknown"}), expected)
    np.testing.assert_array_equal(reviewed_scores(REFERENCE, set()), np.array(REFERENCE.scores, np.float32))


def test_one_row_stays_to_rank_among() -> None:
    alone = REFERENCE.model_copy(
        update={"rows": 2, "scores": (0.3, 0.9), "review": (REFERENCE.review[0], REFERENCE.review[2])}
    )
    assert len(reviewed_scores(alone, {"a"})) == 1

"""What labelled anomalies tell of those that are hidden."""

import numpy as np

from nearnorm.training.fitting.told_apart import told_apart


def told(labelled: int, hidden: int, apart: float) -> float:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(1_500 + hidden + labelled, 4)).astype(np.float32)
    rows[1_500:, :2] += np.float32(apart)
    unlabelled = rng.permutation(rows[: 1_500 + hidden])
    return told_apart(unlabelled, np.ones(len(unlabelled)), rows[1_500 + hidden :], np.random.default_rng(1))


def test_anomalies_are_told_apart_where_none_is_hidden() -> None:
    assert told(labelled=60, hidden=0, apart=4.0) > 0.9


def test_hidden_anomalies_stand_among_the_highest() -> None:
    assert told(labelled=60, hidden=240, apart=4.0) < 0.35


def test_anomalies_that_look_like_normal_rows_are_not_told_apart() -> None:
    assert told(labelled=60, hidden=0, apart=0.5) < 0.35

"""How many features are named, and how many the model is asked about."""

import numpy as np

from nearnorm.service.inference.outputs import Outputs
from nearnorm.service.records.encoder import Rows
from nearnorm.service.verdict.occlusion import ODDEST, Occlusion


def numbers(rows: int, columns: int, value: float) -> Rows:
    return Rows(np.full((rows, columns), value), np.empty((rows, 0), np.int64))


def additive(rows: Rows) -> Outputs:
    """Every number is one logit."""
    score = (1.0 / (1.0 + np.exp(3.0 - rows.numeric.sum(axis=1)))).astype(np.float32)
    return Outputs(score, score[:, None], np.zeros(len(rows), np.int64), score, score, score[:, None])


def test_no_more_than_five_features_are_named() -> None:
    rows, oddity = numbers(2, 8, 1.0), np.zeros((2, 8))
    found = Occlusion(additive, 0.0).effects(rows, additive(rows).score, numbers(2, 8, 0.0), oddity)
    assert [len(effects) for effects in found] == [5, 5]
    assert [round(effect.together, 3) for effect in found[0]] == [1, 2, 3, 4, 5]


def test_a_value_that_takes_nothing_is_not_named_however_odd() -> None:
    rows, oddity = numbers(1, 4, 1.0), np.full((1, 4), 6.0)
    rows.numeric[0, 1:] = [0.0, -0.5, 2.0]  # as the normal one is; its score would rise without it
    (found,) = Occlusion(additive, 0.0).effects(rows, additive(rows).score, numbers(1, 4, 0.0), oddity)
    assert [effect.feature for effect in found] == [3, 0]
    assert all(effect.alone > 0 for effect in found)


def test_what_is_as_odd_as_can_be_is_named_after_what_takes_more() -> None:
    rows, oddity = numbers(1, 3, 1.0), np.array([[0.0, ODDEST, 0.0]])
    rows.numeric[0] = [3.0, -0.5, 0.3]
    (found,) = Occlusion(additive, 0.0).effects(rows, additive(rows).score, numbers(1, 3, 0.0), oddity)
    assert [effect.feature for effect in found] == [0, 1, 2]


def test_what_is_taken_beneath_an_ordinary_score_is_told_and_counts_for_nothing() -> None:
    rows, oddity = numbers(1, 3, 2.0), np.array([[0.0, 0.0, 1.0]])
    score, ordinary = additive(rows).score, float(additive(numbers(1, 3, 1.5)).score[0])
    (found,) = Occlusion(additive, ordinary).effects(rows, score, numbers(1, 3, 0.0), oddity)
    assert [(effect.feature, round(effect.together, 3)) for effect in found] == [(2, 2.0)]


def test_of_many_features_the_oddest_are_tried() -> None:
    asked: list[int] = []

    def run(rows: Rows) -> Outputs:
        asked.append(len(rows))
        return additive(rows)

    columns = 42
    rows, oddity = numbers(3, columns, 0.25), np.arange(columns) * np.full((3, 1), 0.01)
    rows.numeric[:, :10] = 9.0  # these would explain more, and are the least odd
    found = Occlusion(run, 0.0).effects(rows, additive(rows).score, numbers(3, columns, 0.0), oddity)
    assert max(asked) == 3 * 32
    assert all(effect.feature >= 10 for effects in found for effect in effects)

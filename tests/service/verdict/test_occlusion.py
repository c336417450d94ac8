"""How many features are named, and how many the model is asked about."""

import numpy as np
from numpy.typing import NDArray

from nearnorm.service.inference.outputs import Outputs
from nearnorm.service.records.encoded import Rows
from nearnorm.service.verdict.occlusion import ODDEST, Occlusion


def numbers(rows: int, columns: int, value: float) -> Rows:
    return Rows(np.full((rows, columns), value), np.empty((rows, 0), np.int64))


def additive(rows: Rows) -> Outputs:
    """Every number is one logit."""
    score = (1.0 / (1.0 + np.exp(3.0 - rows.numeric.sum(axis=1)))).astype(np.float32)
    return answers(score, np.ones(len(rows), np.float32))


def answers(score: NDArray[np.float32], error: NDArray[np.float32]) -> Outputs:
    return Outputs(score, score[:, None], np.zeros(len(score), np.int64), score, error, score[:, None])


def rebuilt_by_size(rows: Rows) -> Outputs:
    """As additive; a record is rebuilt the worse the larger its numbers are."""
    return answers(additive(rows).score, np.abs(rows.numeric).sum(axis=1).astype(np.float32))


def both(rows: Rows) -> Outputs:
    """Three logits less where the first and the second number are normal, and not if one of them is."""
    score = np.where((rows.numeric[:, :2] == 0.0).all(axis=1), -3.0, 0.0) + 0.5 * rows.numeric[:, 2]
    return answers((1.0 / (1.0 + np.exp(-score))).astype(np.float32), np.ones(len(rows), np.float32))


def test_no_more_than_five_features_are_named() -> None:
    rows, oddity = numbers(2, 8, 1.0), np.zeros((2, 8))
    found = Occlusion(additive, 0.0).effects(rows, additive(rows), numbers(2, 8, 0.0), oddity)
    assert [len(effects) for effects in found] == [5, 5]
    assert [round(effect.together, 3) for effect in found[0]] == [1, 2, 3, 4, 5]


def test_a_value_that_takes_nothing_is_not_named_however_odd() -> None:
    rows, oddity = numbers(1, 4, 1.0), np.full((1, 4), 6.0)
    rows.numeric[0, 1:] = [0.0, -0.5, 2.0]  # as the normal one is; its score would rise without it
    (found,) = Occlusion(additive, 0.0).effects(rows, additive(rows), numbers(1, 4, 0.0), oddity)
    assert [effect.feature for effect in found] == [3, 0]
    assert all(effect.alone > 0 for effect in found)


def test_what_is_as_odd_as_can_be_is_named_after_what_takes_more() -> None:
    rows, oddity = numbers(1, 3, 1.0), np.array([[0.0, ODDEST, 0.0]])
    rows.numeric[0] = [3.0, -0.5, 0.3]
    (found,) = Occlusion(additive, 0.0).effects(rows, additive(rows), numbers(1, 3, 0.0), oddity)
    assert [effect.feature for effect in found] == [0, 1, 2]


def test_an_odd_value_that_takes_nothing_is_named_where_the_record_is_rebuilt_better_without_it() -> None:
    rows, oddity = numbers(1, 5, 0.0), np.array([[0.0, 2.0, 2.0, 0.5, 0.0]])
    rows.numeric[0] = [2.0, -1.0, -0.1, -1.0, 0.2]  # little goes with the third, and the fourth is usual
    (found,) = Occlusion(rebuilt_by_size, 0.0).effects(
        rows, rebuilt_by_size(rows), numbers(1, 5, 0.0), oddity
    )
    assert [effect.feature for effect in found] == [0, 1, 4]
    assert round(found[1].alone, 3) == -1
    assert round(found[1].rebuilt, 3) == round(1 / 4.3, 3)
    assert [round(effect.together, 3) for effect in found] == [2, 2, 2.2], "without what raises the score"


def test_what_takes_nothing_alone_and_much_on_top_of_another_is_named_after_that() -> None:
    rows, oddity = numbers(1, 3, 1.0), np.array([[ODDEST, 0.0, 0.0]])
    (found,) = Occlusion(both, 0.0).effects(rows, both(rows), numbers(1, 3, 0.0), oddity)
    assert [effect.feature for effect in found] == [0, 1, 2]
    assert round(found[1].alone, 3) == 0
    assert round(found[1].together, 3) == 3


def test_what_is_taken_beneath_an_ordinary_score_is_told_and_counts_for_nothing() -> None:
    rows, oddity = numbers(1, 3, 2.0), np.array([[0.0, 0.0, 1.0]])
    ordinary = float(additive(numbers(1, 3, 1.5)).score[0])
    (found,) = Occlusion(additive, ordinary).effects(rows, additive(rows), numbers(1, 3, 0.0), oddity)
    assert [(effect.feature, round(effect.together, 3)) for effect in found] == [(2, 2.0)]


def test_of_many_features_the_oddest_are_tried() -> None:
    asked: list[int] = []

    def run(rows: Rows) -> Outputs:
        asked.append(len(rows))
        return additive(rows)

    columns = 42
    rows, oddity = numbers(3, columns, 0.25), np.arange(columns) * np.full((3, 1), 0.01)
    rows.numeric[:, :10] = 9.0  # these would explain more, and are the least odd
    found = Occlusion(run, 0.0).effects(rows, additive(rows), numbers(3, columns, 0.0), oddity)
    assert max(asked) == 3 * 32
    assert all(effect.feature >= 10 for effects in found for effect in effects)

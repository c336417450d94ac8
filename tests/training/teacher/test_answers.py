import numpy as np
import pytest

from nearnorm.training.teacher.answers import COLUMNS, answers
from tests.training.teacher.records import records


def found(labelled: np.ndarray, unlabelled: np.ndarray, bad: np.ndarray) -> float:
    """How high anomalies that have no label rank among rows, on average."""
    normal = np.sort(answers(labelled, unlabelled, unlabelled))
    return float(np.searchsorted(normal, answers(labelled, unlabelled, bad)).mean() / len(normal))


@pytest.mark.parametrize("labels", [1, 3, 10])
def test_it_finds_more_of_what_a_few_labels_show(labels: int) -> None:
    unlabelled, bad = records(0, 60)
    assert found(bad[:labels], unlabelled, bad[labels:]) > 0.9


def test_a_row_is_answered_alike_whatever_stands_beside_it_and_in_any_order() -> None:
    unlabelled, bad = records(1, 8)
    once = answers(bad, unlabelled, unlabelled)
    order = np.random.default_rng(0).permutation(len(unlabelled))
    assert np.allclose(answers(bad, unlabelled, unlabelled[order]), once[order], atol=1e-4)
    assert np.allclose(answers(bad, unlabelled, unlabelled[:7]), once[:7], atol=1e-4)


def test_the_order_of_labelled_anomalies_says_nothing_and_that_of_columns_next_to_nothing() -> None:
    unlabelled, bad = records(2, 8)
    once = answers(bad, unlabelled, unlabelled)
    assert np.allclose(answers(bad[::-1], unlabelled, unlabelled), once, atol=1e-3)
    columns = np.array([3, 0, 4, 2, 1])  # turns the signs of components
    turned = answers(bad[:, columns], unlabelled[:, columns], unlabelled[:, columns])
    assert np.corrcoef(turned, once)[0, 1] > 0.99


def test_it_sees_ranks_and_no_unit() -> None:
    unlabelled, bad = records(3, 8)
    other = [np.exp(rows.astype(np.float64)) for rows in (bad, unlabelled)]
    once = answers(bad.astype(np.float64), unlabelled.astype(np.float64), unlabelled)
    assert np.array_equal(answers(other[0], other[1], np.exp(unlabelled.astype(np.float64))), once)


def test_columns_that_never_vary_say_nothing_and_of_many_the_telling_ones_are_seen() -> None:
    unlabelled, bad = records(4, 6)
    assert not answers(np.ones_like(bad), np.ones_like(unlabelled), unlabelled).any()
    once = answers(bad, unlabelled, unlabelled)
    still = np.ones((1, 2), np.float32)
    wider = [np.hstack([rows, np.repeat(still, len(rows), axis=0)]) for rows in (bad, unlabelled)]
    assert np.array_equal(answers(wider[0], wider[1], wider[1]), once)
    rng = np.random.default_rng(0)
    wide = [np.hstack([rows, rng.normal(size=(len(rows), 3 * COLUMNS))]) for rows in (bad, unlabelled)]
    assert found(wide[0], wide[1], wide[0]) > 0.9


@pytest.mark.parametrize("rows", [2, 3, 40])
def test_few_rows_and_a_single_label_are_answered_too(rows: int) -> None:
    unlabelled, bad = records(5, 1, rows)
    assert np.isfinite(answers(bad, unlabelled, unlabelled)).all()

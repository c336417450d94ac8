import numpy as np
import pytest

from nearnorm.training.teacher import evidence
from nearnorm.training.teacher.evidence import FEWEST, FEWEST_ROWS, belief
from tests.training.teacher.records import records


def blind(_: np.ndarray, __: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).normal(size=len(rows))


def seeing(_: np.ndarray, __: np.ndarray, rows: np.ndarray) -> np.ndarray:
    total: np.ndarray = rows[:, 0] + rows[:, 1]
    return total


@pytest.mark.parametrize(("teacher", "trees", "told"), [(blind, seeing, 0.0), (seeing, blind, 1.0)])
def test_it_is_believed_where_it_finds_left_out_anomalies_better_than_trees_do(
    monkeypatch: pytest.MonkeyPatch, teacher: evidence.Ranking, trees: evidence.Ranking, told: float
) -> None:
    monkeypatch.setattr(evidence, "answers", teacher)
    monkeypatch.setattr(evidence, "_trees", trees)
    unlabelled, bad = records(0, 10)
    assert belief(bad, unlabelled) == told


def test_as_good_as_trees_it_has_half_its_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "answers", seeing)
    monkeypatch.setattr(evidence, "_trees", seeing)
    unlabelled, bad = records(0, 10)
    assert belief(bad, unlabelled) == pytest.approx(0.5)


def test_each_anomaly_is_judged_by_what_was_not_shown_it(monkeypatch: pytest.MonkeyPatch) -> None:
    unlabelled, bad = records(1, 7)
    judged: list[bytes] = []

    def spy(labelled: np.ndarray, beside: np.ndarray, rows: np.ndarray) -> np.ndarray:
        shown = {row.tobytes() for row in np.concatenate([labelled, beside])}
        assert not shown & {row.tobytes() for row in rows}
        judged.extend(row.tobytes() for row in rows if row.tobytes() in {one.tobytes() for one in bad})
        return seeing(labelled, beside, rows)

    monkeypatch.setattr(evidence, "answers", spy)
    monkeypatch.setattr(evidence, "_trees", seeing)
    belief(bad, unlabelled)
    assert sorted(judged) == sorted(row.tobytes() for row in bad)


def test_of_fewer_than_three_labels_or_of_few_rows_it_says_nothing() -> None:
    unlabelled, bad = records(2, FEWEST)
    assert belief(bad[: FEWEST - 1], unlabelled) == 0.0
    assert belief(bad, unlabelled[: FEWEST_ROWS - 1]) == 0.0


def test_the_same_labels_and_rows_have_the_same_say() -> None:
    unlabelled, bad = records(3, 5)
    once = belief(bad, unlabelled)
    assert 0.0 <= once == belief(bad, unlabelled) <= 1.0

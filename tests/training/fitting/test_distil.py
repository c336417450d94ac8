from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from nearnorm.training.fitting import distil as distilling
from nearnorm.training.fitting.distil import (
    LABELS,
    MORE_TREES,
    SHARES,
    distil,
    served_forest,
    thorough_share,
    trees_share,
)
from nearnorm.training.method.enough import ENOUGH, FEW
from nearnorm.training.method.forest.trees import (
    FOREST_SHARE,
    HASTY,
    Forest,
    Trees,
    grow_trees,
    masses,
    thorough,
)


@pytest.fixture(autouse=True)
def forests_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pre-trained teacher says nothing, but where a test gives it the word."""
    monkeypatch.setattr(distilling, "belief", lambda *_: 0.0)


def rows(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)


def forests(count: int) -> tuple[list[Trees], np.ndarray, np.ndarray]:
    """Forests grown on the same rows with other random numbers, the rows, and what they weigh."""
    normal, bad = rows(0, 2_000), rows(1, 10) + np.array([2.0, 2.0, 0.0, 0.0], np.float32)
    weight = np.ones(len(normal))
    grown = [
        grow_trees(normal, weight, bad, confirmed=0, rng=np.random.default_rng(seed), growth=HASTY)
        for seed in range(count)
    ]
    return grown, np.concatenate([normal, bad]), masses(weight, 0, len(bad))


def mean_of(grown: list[Trees], seen: np.ndarray) -> np.ndarray:
    mean: np.ndarray = np.mean([one.logit(seen) for one in grown], axis=0)
    return mean


def test_few_trees_answer_as_the_mean_of_many_forests_on_rows_that_nobody_saw() -> None:
    grown, seen, mass = forests(6)
    small = distil(grown, mean_of(grown, seen), seen, mass, 40, np.random.default_rng(2))
    assert len(small.leaf) == 40
    unseen = rows(3, 1_000)
    wanted = mean_of(grown, unseen)
    missed = ((small.logit(unseen) - wanted) ** 2).mean()
    assert missed < 0.1 * wanted.var()
    assert missed < 0.5 * np.mean([((one.logit(unseen) - wanted) ** 2).mean() for one in grown])


def test_one_forest_is_learnt_as_it_is() -> None:
    grown, seen, mass = forests(1)
    small = distil(grown, mean_of(grown, seen), seen, mass, 60, np.random.default_rng(2))
    assert np.corrcoef(small.logit(seen), grown[0].logit(seen))[0, 1] > 0.98


def test_confirmed_normals_push_their_like_down_in_the_mean_too() -> None:
    rng = np.random.default_rng(3)
    normal, bad = rows(4, 2_000), rows(5, 8) + np.array([4.0, 0.0, 0.0, 0.0], np.float32)
    alike = 0.3 * rows(6, 6) + np.array([4.0, 3.0, 0.0, 0.0], np.float32)
    both = np.concatenate([normal, alike])

    def forest(rows: np.ndarray, confirmed: int) -> Forest:
        weight = np.ones(len(rows))
        return served_forest(
            rows, weight, bad, inputs=4, confirmed=confirmed, forests=3, ordinary=0.0, count=40, rng=rng
        )

    before, after = forest(normal, 0), forest(both, len(alike))
    assert after.logit(alike).mean() < before.logit(alike).mean() - 1.0


def test_forests_of_the_inputs_alone_have_a_say_once_there_are_labels_enough() -> None:
    few, some, many = LABELS
    shares = [thorough_share(labels, 0.0) for labels in (1, few, (few + some) // 2, some, many, 1_000)]
    assert shares == [0.0, 0.0, SHARES[1] / 2, SHARES[1], SHARES[2], SHARES[2]]


def test_a_forest_of_the_inputs_alone_has_all_of_the_say_and_the_finest_leaves_where_nothing_is_hidden() -> (
    None
):
    assert thorough_share(30, 1.0) == 1.0
    assert SHARES[1] < thorough_share(30, 0.5) < 1.0
    assert thorough(100, 1_000, 1.0).smoothing < 0.1 * thorough(100, 1_000, 0.0).smoothing
    assert thorough(100, 400, 1.0).balance == 0.5
    assert thorough(100, 400, 0.0).balance == thorough(400, 100, 1.0).balance == 1.0
    assert thorough(100, 1_000, 1.0).depth > thorough(100, 1_000, 0.0).depth
    assert thorough(100, 1_000, 1.0).least > thorough(100, 1_000, 0.0).least > 0
    assert thorough(30, 1_000, 1.0).least == 0
    assert thorough(300, 1_000, 0.0).smoothing == pytest.approx(thorough(100, 1_000, 0.0).smoothing / 3)


@pytest.mark.parametrize("told", [0.0, 1.0])
def test_a_thorough_forest_is_served_as_it_grew_beside_fewer_trees_that_were_taught(
    monkeypatch: pytest.MonkeyPatch, told: float
) -> None:
    monkeypatch.setattr(distilling, "told_apart", lambda *_: told)
    normal = rows(12, 1_000)

    def sizes(labels: int) -> tuple[int, int]:
        forest = served_forest(
            normal,
            np.ones(len(normal)),
            rows(13, labels) + np.float32(2.0),
            inputs=3,
            confirmed=0,
            forests=1,
            ordinary=0.0,
            count=40,
            rng=np.random.default_rng(14),
        )
        return len(forest.taught.leaf), len(forest.grown.leaf)

    found = [sizes(10), sizes(20), sizes(30), sizes(100)]
    assert found == [(40, 0), (13 if told else 26, 60), (0 if told else 12, 60), (0, 100)]


def test_a_forest_answers_as_its_two_parts_by_their_share() -> None:
    (one, other), seen, _ = forests(2)
    both = Forest(one.weighing(0.75), other.weighing(0.25)).logit(seen)
    assert np.allclose(both, 0.75 * one.logit(seen) + 0.25 * other.logit(seen))


def test_each_confirmed_normal_grows_what_teaches_by_a_tree_where_there_are_anomalies_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = []

    def spy(*given: Any, **named: Any) -> Trees:
        forest = grow_trees(*given, **named)
        sizes.append(len(forest.leaf))
        return forest

    monkeypatch.setattr(distilling, "grow_trees", spy)
    monkeypatch.setattr(distilling, "told_apart", lambda *_: 0.0)

    def more(confirmed: int, anomalies: int) -> int:
        normal, bad = rows(5, 600 + confirmed), rows(6, anomalies)
        served_forest(
            normal,
            np.ones(len(normal)),
            bad,
            inputs=3,
            confirmed=confirmed,
            forests=1,
            ordinary=0.0,
            count=1,
            rng=np.random.default_rng(7),
        )
        return sizes[-1] - HASTY.trees

    assert [more(300, FEW), more(0, ENOUGH), more(7, ENOUGH), more(300, ENOUGH)] == [0, 0, 7, MORE_TREES]
    assert more(300, (FEW + ENOUGH) // 2) == MORE_TREES // 2


def precision(labels: int, ordinary: float) -> float:
    """Of a forest whose last column tells labelled rows from all others, as training moved them, and tells
    nothing of rows that nobody labelled."""
    here, there = np.array([1.5, 1.5, 0.0, 0.0]), np.array([0.0, 0.0, 0.0, 3.0])
    normal, bad = rows(7, 2_000), (rows(8, labels) + here + there).astype(np.float32)
    unseen = np.concatenate([rows(9, 2_000), rows(10, 100) + here])

    forest = served_forest(
        normal,
        np.ones(len(normal)),
        bad,
        inputs=3,
        confirmed=0,
        forests=4,
        ordinary=ordinary,
        count=40,
        rng=np.random.default_rng(11),
    )
    return float(average_precision_score(np.repeat([0, 1], [2_000, 100]), forest.logit(unseen)))


@pytest.mark.parametrize(("labels", "better"), [(60, True), (10, False)])
def test_evidence_that_is_too_good_on_labelled_rows_is_believed_less_the_more_labels_there_are(
    monkeypatch: pytest.MonkeyPatch, labels: int, better: bool
) -> None:
    found = precision(labels, ordinary=0.0)
    monkeypatch.setattr(distilling, "thorough_share", lambda *_: 0.0)
    assert (found > precision(labels, ordinary=0.0) + 0.05) is better
    assert (found == precision(labels, ordinary=0.0)) is not better


def test_it_is_believed_less_where_labelled_anomalies_were_ordinary() -> None:
    assert precision(10, ordinary=1.0) > precision(10, ordinary=0.0) + 0.05


def test_trees_have_more_of_the_logit_where_anomalies_are_ordinary_but_for_a_thorough_forest() -> None:
    assert trees_share(0.0, 0.0) == trees_share(0.0, 1.0) == trees_share(1.0, 1.0) == FOREST_SHARE
    assert FOREST_SHARE < trees_share(0.5, 0.0) < trees_share(1.0, 0.0) < 1.0
    assert FOREST_SHARE < trees_share(1.0, 0.5) < trees_share(1.0, 0.0)


def served(labels: int, forests: int = 2, confirmed: int = 0) -> Forest:
    """What is served of rows whose anomalies are high in the first column."""
    normal, bad = rows(20, 1_000), rows(21, labels) + np.array([2.0, 0.0, 0.0, 0.0], np.float32)
    return served_forest(
        normal,
        np.ones(len(normal)),
        bad,
        inputs=3,
        confirmed=confirmed,
        forests=forests,
        ordinary=0.0,
        count=40,
        rng=np.random.default_rng(22),
    )


def by_the_second(_: np.ndarray, __: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return rows[:, 1]


def test_where_the_pretrained_teacher_is_believed_twice_as_many_trees_answer_as_both_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = served(5)
    monkeypatch.setattr(distilling, "answers", by_the_second)
    monkeypatch.setattr(distilling, "belief", lambda *_: 1.0)
    after, unseen = served(5), rows(23, 1_000)
    assert (len(before.taught.leaf), len(after.taught.leaf)) == (40, 80)

    def alike(forest: Forest) -> float:
        return float(np.corrcoef(forest.logit(unseen), unseen[:, 1])[0, 1])

    assert alike(before) < 0.3 < alike(after) - 0.2


def test_where_it_is_not_believed_all_is_as_if_there_were_none(monkeypatch: pytest.MonkeyPatch) -> None:
    before = served(5)
    monkeypatch.setattr(distilling, "answers", by_the_second)
    assert np.array_equal(served(5).taught.leaf, before.taught.leaf)


def test_the_pretrained_teacher_is_not_asked_where_a_thorough_forest_has_most_of_the_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def spy(labelled: np.ndarray, _: np.ndarray) -> float:
        asked.append(len(labelled))
        return 1.0

    monkeypatch.setattr(distilling, "answers", by_the_second)
    monkeypatch.setattr(distilling, "belief", spy)
    monkeypatch.setattr(distilling, "told_apart", lambda *_: 0.0)
    for labels in (5, 20):
        assert len(served(labels).taught.leaf) > 40
    assert len(served(30).taught.leaf) == 12
    assert asked == [5, 20]


def test_the_pretrained_teacher_says_nothing_of_confirmed_normals(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def spy(labelled: np.ndarray, unlabelled: np.ndarray, rows: np.ndarray) -> np.ndarray:
        seen.append((len(labelled), len(unlabelled), len(rows)))
        return by_the_second(labelled, unlabelled, rows)

    monkeypatch.setattr(distilling, "answers", spy)
    monkeypatch.setattr(distilling, "belief", lambda *_: 1.0)
    served(5, confirmed=200)
    assert seen == [(5, 800, 800)]


def test_answers_of_others_take_the_spread_of_the_logits() -> None:
    logits = np.array([3.0, -1.0, 2.0])
    assert distilling._as_high(np.array([0.1, 0.2, 0.3]), logits).tolist() == [-1.0, 2.0, 3.0]

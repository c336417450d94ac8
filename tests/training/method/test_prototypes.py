import numpy as np
import pytest

from nearnorm.training.method.prototypes import find_prototypes


def groups(count: int, rows: int = 60) -> np.ndarray:
    rng = np.random.default_rng(count)
    middles = 10.0 * rng.permutation(np.eye(count + 1))[:count]
    return np.concatenate([m + 0.1 * rng.normal(size=(rows, count + 1)) for m in middles])


def test_every_group_gets_a_prototype() -> None:
    found = find_prototypes(groups(3), 3, np.random.default_rng(0))
    assert len(found) == 3
    middles = groups(3).reshape(3, 60, 4).mean(axis=1)
    assert np.sort(found, axis=0) == pytest.approx(np.sort(middles, axis=0))


def test_never_more_prototypes_than_distinct_rows() -> None:
    two = np.repeat([[0.0, 1.0], [5.0, 2.0]], 20, axis=0)
    assert len(find_prototypes(two, 8, np.random.default_rng(0))) == 2


def test_the_same_stream_gives_the_same_prototypes() -> None:
    first = find_prototypes(groups(3), 2, np.random.default_rng(7))
    assert (first == find_prototypes(groups(3), 2, np.random.default_rng(7))).all()


def test_centres_are_as_near_to_the_rows_as_those_of_scikit_learn() -> None:
    from sklearn.cluster import KMeans

    rng = np.random.default_rng(3)
    rows = np.concatenate([rng.normal(size=(200, 6)) + 3.0 * rng.normal(size=6) for _ in range(7)])
    theirs = KMeans(5, n_init=20, random_state=0).fit(rows).inertia_
    found = find_prototypes(rows, 5, np.random.default_rng(0))
    ours = np.square(rows[:, None] - found).sum(2).min(1).sum()
    assert ours < 1.02 * theirs


def test_rows_far_from_zero_that_hardly_differ_still_have_their_prototypes() -> None:
    rows = (1e4 + np.repeat([[0.0], [0.01], [1.0]], 30, axis=0)).astype(np.float32)
    found = find_prototypes(rows, 3, np.random.default_rng(0))
    assert found.dtype == np.float32
    assert np.sort(found[:, 0]) == pytest.approx(np.unique(rows), abs=2e-3, rel=0)

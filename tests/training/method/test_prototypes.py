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

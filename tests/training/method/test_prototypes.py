import numpy as np

from nearnorm.training.method.prototypes import find_prototypes


def groups(count: int, rows: int = 60) -> np.ndarray:
    rng = np.random.default_rng(count)
    middles = 10.0 * rng.permutation(np.eye(count + 1))[:count]
    return np.concatenate([m + 0.1 * rng.normal(size=(rows, count + 1)) for m in middles])


def test_silhouette_finds_the_number_of_groups() -> None:
    for count in (2, 4, 6):
        found, silhouettes = find_prototypes(groups(count), None, np.random.default_rng(0))
        assert len(found) == count
        assert max(silhouettes, key=lambda k: silhouettes[k]) == str(count)


def test_a_given_number_is_taken_without_choosing() -> None:
    found, silhouettes = find_prototypes(groups(2), 3, np.random.default_rng(0))
    assert len(found) == 3
    assert not silhouettes


def test_never_more_prototypes_than_distinct_rows() -> None:
    two = np.repeat([[0.0, 1.0], [5.0, 2.0]], 20, axis=0)
    assert len(find_prototypes(two, 8, np.random.default_rng(0))[0]) == 2
    one = np.ones((10, 3))
    assert len(find_prototypes(one, None, np.random.default_rng(0))[0]) == 1


def test_the_same_stream_gives_the_same_prototypes() -> None:
    first = find_prototypes(groups(3), None, np.random.default_rng(7))[0]
    again = find_prototypes(groups(3), None, np.random.default_rng(7))[0]
    assert (first == again).all()

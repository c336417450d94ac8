import numpy as np

from nearnorm.training.fitting.distil import distil, mean_forest
from nearnorm.training.method.trees import Trees, grow_trees, masses


def rows(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)


def forests(count: int) -> tuple[list[Trees], np.ndarray, np.ndarray]:
    """Forests grown on the same rows with other random numbers, the rows, and what they weigh."""
    normal, bad = rows(0, 2_000), rows(1, 10) + np.array([2.0, 2.0, 0.0, 0.0], np.float32)
    weight = np.ones(len(normal))
    grown = [
        grow_trees(normal, weight, bad, confirmed=0, rng=np.random.default_rng(seed)) for seed in range(count)
    ]
    return grown, np.concatenate([normal, bad]), masses(weight, 0, len(bad))


def test_few_trees_answer_as_the_mean_of_many_forests_on_rows_that_nobody_saw() -> None:
    grown, seen, mass = forests(6)
    small = distil(grown, seen, mass, 40, np.random.default_rng(2))
    assert len(small.leaf) == 40
    unseen = rows(3, 1_000)
    wanted = np.mean([one.logit(unseen) for one in grown], axis=0)
    missed = ((small.logit(unseen) - wanted) ** 2).mean()
    assert missed < 0.1 * wanted.var()
    assert missed < 0.5 * np.mean([((one.logit(unseen) - wanted) ** 2).mean() for one in grown])


def test_one_forest_is_learnt_as_it_is() -> None:
    grown, seen, mass = forests(1)
    small = distil(grown, seen, mass, 60, np.random.default_rng(2))
    assert np.corrcoef(small.logit(seen), grown[0].logit(seen))[0, 1] > 0.98


def test_confirmed_normals_push_their_like_down_in_the_mean_too() -> None:
    rng = np.random.default_rng(3)
    normal, bad = rows(4, 2_000), rows(5, 8) + np.array([4.0, 0.0, 0.0, 0.0], np.float32)
    alike = 0.3 * rows(6, 6) + np.array([4.0, 3.0, 0.0, 0.0], np.float32)
    both = np.concatenate([normal, alike])
    before = mean_forest(normal, np.ones(len(normal)), bad, confirmed=0, forests=3, count=40, rng=rng)
    after = mean_forest(both, np.ones(len(both)), bad, confirmed=len(alike), forests=3, count=40, rng=rng)
    assert after.logit(alike).mean() < before.logit(alike).mean() - 1.0

import numpy as np
import pytest
import torch

from nearnorm.training.fitting.fit import fit
from nearnorm.training.method.forest.trees import DEPTH, HASTY, Growth, Trees, grow_trees, masses
from nearnorm.training.method.heads import ForestHead
from tests.training.samples import quick, sample


def grown(normal: np.ndarray, anomalous: np.ndarray, confirmed: int = 0) -> Trees:
    weight = np.ones(len(normal))
    rng = np.random.default_rng(0)
    return grow_trees(normal, weight, anomalous, confirmed=confirmed, rng=rng, growth=HASTY)


def test_trees_learn_an_interaction_that_no_line_separates() -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(2_000, 2))
    bad = (rows[:, 0] > 0.5) & (rows[:, 1] > 0.5)
    trees = grown(rows[~bad], rows[bad][:20])
    scores = trees.logit(rng.normal(size=(500, 2)) + np.array([[2.5, 2.5]]))
    for corner in ([2.5, -2.5], [-2.5, 2.5], [-2.5, -2.5]):
        assert scores.mean() > trees.logit(rng.normal(size=(500, 2)) + np.array([corner])).mean() + 1.0


def test_a_threshold_lies_between_values_that_occur() -> None:
    whole = np.random.default_rng(2).integers(0, 6, size=(500, 3)).astype(float)
    trees = grown(whole[:480], whole[480:] + np.array([3.0, 0.0, 0.0]))
    finite = trees.threshold[np.isfinite(trees.threshold)]
    assert len(finite)
    assert (np.abs(finite - np.round(finite)) > 0.4).mean() > 0.9


def test_where_columns_are_few_a_tree_that_has_to_try_many_thresholds_finds_a_narrow_band() -> None:
    rng = np.random.default_rng(5)
    normal = rng.random((3_000, 1))
    bad = np.abs(normal[:, 0] - 0.5) < 0.01
    off = []
    for least in (0, 200):
        growth = Growth(1, 0.6, 2, rows=3_000, rate=1.0, smoothing=1e-4, depth=2, least=least)
        one = [
            grow_trees(
                normal[~bad],
                np.ones((~bad).sum()),
                normal[bad],
                confirmed=0,
                rng=np.random.default_rng(seed),
                growth=growth,
            )
            for seed in range(10)
        ]
        off.append(np.mean([np.abs(np.sort(tree.threshold[0]) - (0.49, 0.51)).max() for tree in one]))
    few, many = off
    assert many < 0.03 < few


def test_confirmed_normals_are_in_every_tree_and_push_their_like_down() -> None:
    rng = np.random.default_rng(3)
    normal, anomalous = rng.normal(size=(3_000, 3)), rng.normal(size=(8, 3)) + np.array([4.0, 0.0, 0.0])
    alike = rng.normal(size=(6, 3)) * 0.3 + np.array([4.0, 3.0, 0.0])
    before = grown(normal, anomalous).logit(alike).mean()
    after = grown(np.concatenate([normal, alike]), anomalous, len(alike)).logit(alike).mean()
    assert after < before - 1.0


def test_labelled_anomalies_weigh_what_a_growth_gives_them_beside_unlabelled_rows() -> None:
    mass = masses(np.array([1.0, 3.0]), 2, 5, balance=0.5)
    assert mass.sum() == pytest.approx(1.0)
    assert mass[4:].sum() == pytest.approx(0.5 * mass[:2].sum())
    assert mass[2:4].sum() == pytest.approx(mass[:2].sum())


def test_the_head_is_the_forest_as_a_polynomial_of_its_answers() -> None:
    data, _ = sample()
    detector = fit(data, quick(trees=20), seed=0).detector
    head = detector.head
    assert isinstance(head, ForestHead)
    # no value within an answer's slope
    rows = torch.randn(50, detector.preprocess.width).round(decimals=2)
    rng = np.random.default_rng(4)
    columns = rng.integers(detector.preprocess.width, size=(20, DEPTH))
    trees = Trees(
        columns,
        rng.normal(size=(20, DEPTH)).round(2).astype(np.float32) + np.float32(0.005),
        rng.normal(size=(20, 2**DEPTH)),
    )
    ones = torch.ones(50)
    embedded = torch.zeros(2, 50, detector.centres.shape[2])
    silent = Trees(columns, trees.threshold, 0 * trees.leaf)
    forest, none = (ForestHead(head.score, one, rows.shape[1], share=0.6) for one in (trees, silent))
    got = forest(embedded, ones, ones, rows) - none(embedded, ones, ones, rows)
    wanted = trees.logit(rows.numpy())
    assert np.allclose(got.detach().numpy()[0] / 0.6, wanted, atol=1e-3)

"""Cross-fitting: a label is ranked by a fit that knew nothing of it. The gate stands on this."""

from dataclasses import replace

import numpy as np
import pytest

from nearnorm.training.dataset.load import Dataset, Split, load, split
from nearnorm.training.evaluation.crossfit import (
    FEW,
    CrossFit,
    cross_fit,
    deal,
    fold_count,
    measurable,
    rank_left_out,
)
from tests.training.conftest import PAYMENTS
from tests.training.samples import quick

CONFIG = quick(forests=1, trees=8)


@pytest.fixture(scope="module")
def data() -> Dataset:
    """The payments sample, with some normals confirmed."""
    whole = load(PAYMENTS, "label")
    labels = whole.labels.copy()
    labels[np.flatnonzero(labels == -1)[:8]] = 0
    return replace(whole, labels=labels)


@pytest.fixture(scope="module")
def rows(data: Dataset) -> Split:
    return split(data, 0)


@pytest.fixture(scope="module")
def crossed(data: Dataset, rows: Split) -> CrossFit:
    return cross_fit(data, rows, CONFIG, 0)


@pytest.fixture(scope="module")
def first(data: Dataset, rows: Split) -> np.ndarray:
    """The labelled rows of the first fold."""
    labelled: np.ndarray = rows.fit[deal(data.labels[rows.fit], 0) == 0]
    return labelled


def test_every_label_that_may_be_trained_on_is_ranked_once(
    data: Dataset, rows: Split, crossed: CrossFit
) -> None:
    labelled = rows.fit[data.labels[rows.fit] != -1]
    assert sorted(crossed.rows.tolist()) == labelled.tolist()
    assert len(crossed.score) == len(crossed.rank) == len(labelled)
    assert crossed.reference_rank.shape == (2, len(rows.reference))
    assert crossed.rank.min() >= 0.0
    assert crossed.rank.max() < 1.0


def test_folds_deal_out_anomalies_and_normals_evenly() -> None:
    labels = np.array([1] * 5 + [-1] * 4 + [0] * 6, np.int8)
    fold = deal(labels, 0)
    assert (fold[labels == -1] == -1).all()
    assert sorted(np.bincount(fold[labels == 1])) == [2, 3]
    assert np.bincount(fold[labels == 0]).tolist() == [3, 3]
    assert (fold == deal(labels, 0)).all()
    assert any((fold != deal(labels, seed)).any() for seed in (1, 2, 3))


def test_a_label_that_is_left_out_tells_its_fit_nothing(
    data: Dataset, rows: Split, crossed: CrossFit, first: np.ndarray
) -> None:
    """Turned round, the labels of one fold change no rank of that fold, and those of the other fold."""
    turned = data.labels.copy()
    turned[first] = 1 - turned[first]
    again = cross_fit(data, rows, CONFIG, 0, known=turned)
    own = np.isin(crossed.rows, first)
    assert (again.score[own] == crossed.score[own]).all()
    assert (again.rank[own] == crossed.rank[own]).all()
    assert (again.score[~own] != crossed.score[~own]).any()


def test_the_rows_of_left_out_labels_are_not_trained_on_either(
    data: Dataset, rows: Split, crossed: CrossFit, first: np.ndarray
) -> None:
    present = np.ones(len(data.labels), bool)
    present[first] = False
    again = cross_fit(data, rows, CONFIG, 0, present=present)
    own = np.isin(crossed.rows, first)
    assert (again.score[own] == crossed.score[own]).all()
    assert (again.score[~own] != crossed.score[~own]).any(), "the other fit may not see them now"


def test_no_fit_sees_the_reference_rows(data: Dataset, rows: Split, crossed: CrossFit) -> None:
    numeric = data.numeric.copy()
    numeric[rows.reference] += 1_000.0
    again = cross_fit(replace(data, numeric=numeric), rows, CONFIG, 0)
    assert (again.score == crossed.score).all()


def test_progress_goes_up_to_the_end_and_is_told_within_a_fold(data: Dataset, rows: Split) -> None:
    reported: list[float] = []
    cross_fit(data, rows, CONFIG, 0, reported.append)
    assert reported == sorted(reported)
    assert (reported[0], reported[-1]) == (0.0, 1.0)
    assert reported.count(0.5) > 1, "who watches sees that the second fold is alive"


@pytest.fixture(scope="module")
def others(rows: Split, first: np.ndarray) -> Split:
    """The split without the rows of the first fold."""
    return replace(rows, fit=np.setdiff1d(rows.fit, first))


@pytest.fixture(scope="module")
def left_out(data: Dataset, others: Split, first: np.ndarray) -> CrossFit:
    return rank_left_out(data, others, CONFIG, 0, first, data.labels, np.ones(len(data.labels), bool))


def test_rows_that_are_left_out_are_ranked_as_by_the_fold_that_left_them_out(
    crossed: CrossFit, left_out: CrossFit, first: np.ndarray
) -> None:
    own = np.isin(crossed.rows, first)
    assert left_out.rows.tolist() == first.tolist() == crossed.rows[own].tolist()
    assert (left_out.score == crossed.score[own]).all()
    assert (left_out.rank == crossed.rank[own]).all()
    assert left_out.reference_rank.shape == (1, 1_000)
    assert left_out.reference_rank[0, [0, 500, -1]].tolist() == [0.0, 0.5, 0.999]


def test_what_is_left_out_tells_its_fit_nothing_by_label_or_value(
    data: Dataset, others: Split, left_out: CrossFit, first: np.ndarray
) -> None:
    labels, numeric = data.labels.copy(), data.numeric.copy()
    labels[first] = 1 - labels[first]
    numeric[first[1:]] += 1_000.0
    changed, everywhere = replace(data, numeric=numeric), np.ones(len(labels), bool)
    again = rank_left_out(changed, others, CONFIG, 0, first, labels, everywhere)
    assert again.score[0] == left_out.score[0]
    assert (again.score[1:] != left_out.score[1:]).any(), "each row by its own values"


def test_a_fit_for_what_is_left_out_knows_what_it_may_and_sees_what_is_present(
    data: Dataset, others: Split, left_out: CrossFit, first: np.ndarray
) -> None:
    everywhere, nothing = np.ones(len(data.labels), bool), np.full_like(data.labels, -1)
    unlabelled = rank_left_out(data, others, CONFIG, 0, first, nothing, everywhere)
    assert (unlabelled.score != left_out.score).any()
    absent, numeric = others.fit[:200], data.numeric.copy()
    everywhere[absent] = False
    numeric[absent] += 1_000.0
    fewer = rank_left_out(data, others, CONFIG, 0, first, data.labels, everywhere)
    again = rank_left_out(replace(data, numeric=numeric), others, CONFIG, 0, first, data.labels, everywhere)
    assert (fewer.score != left_out.score).any()
    assert (again.score == fewer.score).all()


def test_labels_by_chance_are_found_no_better_than_by_chance(data: Dataset) -> None:
    """A model that had seen them would know them again."""
    rng = np.random.default_rng(0)
    labels = np.full(len(data.labels), -1, np.int8)
    labels[rng.permutation(np.flatnonzero(data.labels == -1))[:40]] = 1
    by_chance = replace(data, labels=labels)
    crossed = cross_fit(by_chance, split(by_chance, 0), CONFIG, 0)
    assert 0.3 < crossed.rank.mean() < 0.7


def test_to_compare_two_models_few_labels_are_dealt_into_more_folds(data: Dataset, rows: Split) -> None:
    """Of few anomalies a half teaches too little."""
    counts = {n: fold_count(np.array([1] * n + [-1, 0], np.int8)) for n in (0, 2, 3, 5, FEW - 1, FEW)}
    assert counts == {0: 2, 2: 2, 3: 3, 5: 5, FEW - 1: 5, FEW: 2}
    crossed = cross_fit(data, rows, CONFIG, 0, folds=3)
    assert sorted(crossed.rows.tolist()) == rows.fit[data.labels[rows.fit] != -1].tolist()
    assert crossed.reference_rank.shape == (3, len(rows.reference))


def test_two_anomalies_can_be_measured_and_one_cannot() -> None:
    assert measurable(np.array([1, 1, 0, -1]))
    assert not measurable(np.array([1, 0, 0, -1]))

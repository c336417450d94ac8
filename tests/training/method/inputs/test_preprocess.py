from statistics import NormalDist
from typing import Literal

import numpy as np
import pytest
import torch

from nearnorm.training.method.inputs.column_maps import BEYOND
from nearnorm.training.method.inputs.preprocess import Preprocess

NO_CODES = np.zeros((0, 0), dtype=np.int64)


def apply(module: Preprocess, numeric: np.ndarray, codes: np.ndarray | None = None) -> np.ndarray:
    if codes is None:
        codes = np.zeros((len(numeric), 0), dtype=np.int64)
    out: np.ndarray = module(torch.from_numpy(numeric), torch.from_numpy(codes)).numpy()
    return out


def numbers_only(numeric: np.ndarray, transform: Literal["quantile", "minmax"] = "quantile") -> Preprocess:
    return Preprocess(numeric, np.zeros((len(numeric), 0), dtype=np.int64), (), transform)


def test_quantile_maps_every_value_to_the_normal_score_of_its_middle_rank() -> None:
    heavy = np.exp(3.0 * np.random.default_rng(0).normal(size=(5_000, 1)))
    got = apply(numbers_only(heavy), heavy)[:, 0]
    middle = (heavy[:, 0].argsort().argsort() + 0.5) / len(heavy)
    wanted = torch.special.ndtri(torch.from_numpy(middle)).numpy()
    assert np.abs(got - wanted).mean() < 0.1
    assert np.abs(got - wanted).max() < 0.4


def test_a_value_that_fills_many_ranks_gets_their_middle() -> None:
    spike = np.concatenate([np.zeros(900), np.arange(1.0, 101.0)])[:, None]
    got = apply(numbers_only(spike), np.array([[0.0], [1.0]]))[:, 0]
    assert got[0] == pytest.approx(NormalDist().inv_cdf(0.45), abs=1e-3)
    assert got[1] > NormalDist().inv_cdf(0.9) - 1e-3


def test_quantile_is_monotone_and_goes_on_beyond_the_training_range_for_a_while() -> None:
    values = np.random.default_rng(1).gamma(0.3, size=(3_000, 1))
    module = numbers_only(values)
    got = apply(module, np.linspace(-50.0, 50.0, 2_001)[:, None])[:, 0]
    assert (np.diff(got) >= 0).all()
    assert got[0] == got[1]
    assert got[-1] == got[-2]
    low, high, far = apply(module, np.array([[values.min()], [values.max()], [1_000 * values.max()]]))[:, 0]
    assert got[0] == pytest.approx(low - BEYOND, abs=1e-4)
    assert got[-1] == far == pytest.approx(high + BEYOND, abs=1e-4)


def test_minmax_maps_the_training_range_to_zero_and_one() -> None:
    values = np.array([[3.0], [5.0], [7.0]])
    assert apply(numbers_only(values, "minmax"), values)[:, 0].tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("transform", ["quantile", "minmax"])
def test_epoch_seconds_keep_their_differences(transform: Literal["quantile", "minmax"]) -> None:
    seconds = 1_700_000_000.0 + np.arange(1_000.0)[:, None]
    got = apply(numbers_only(seconds, transform), seconds)[:, 0]
    assert len(np.unique(got)) == 1_000


def test_missing_numbers_take_the_median_and_say_so_where_training_saw_them() -> None:
    numeric = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [np.nan, 4.0]])
    module = numbers_only(numeric)
    assert module.width == 3
    got = apply(module, np.array([[np.nan, np.nan], [2.0, 2.0]]))
    assert got[0, :2] == pytest.approx(got[1, :2])
    assert got[:, 2].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("transform", ["quantile", "minmax"])
def test_empty_and_constant_columns_answer_a_finite_constant(
    transform: Literal["quantile", "minmax"],
) -> None:
    numeric = np.array([[np.nan, 7.0, 1.0], [np.nan, 7.0, 2.0]])
    got = apply(numbers_only(numeric, transform), np.array([[1e300, -5.0, 1.0], [np.nan, 7.0, 1.0]]))
    assert np.isfinite(got).all()
    if transform == "quantile":
        assert (got[0] == got[1]).all()


def test_codes_have_a_slot_each_if_training_saw_them() -> None:
    codes = np.array([[2, 0], [3, 2], [2, 2]], dtype=np.int64)
    module = Preprocess(np.zeros((3, 0)), codes, (5, 4), "quantile")
    got = apply(module, np.zeros((2, 0)), np.array([[3, 0], [1, 3]], dtype=np.int64))
    assert got.tolist() == [[0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    assert module.groups.argmax(1).tolist() == [0, 0, 1, 1]


def test_residual_groups_follow_indicators_to_their_column() -> None:
    numeric = np.array([[1.0, np.nan], [2.0, 1.0], [3.0, 2.0]])
    assert numbers_only(numeric).groups.tolist() == [[1, 0], [0, 1], [0, 1]]

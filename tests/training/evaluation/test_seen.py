"""SeenRange of what training saw."""

import numpy as np
import pytest

from nearnorm.models.bundle.manifest import SeenRange
from nearnorm.models.data.schema import FIRST_CODE, UNKNOWN_CODE, Feature, FeatureSchema, Kind
from nearnorm.training.evaluation.seen import CLOSED, bounds_of, unseen_mass, what_was_seen


def test_the_margin_is_a_tenth_of_the_range_at_least() -> None:
    bounds = bounds_of(np.append(np.full(10_000, 5.0), [0.0, 10.0]))
    assert (bounds.low, bounds.high) == (-1.0, 11.0)


def test_the_margin_of_a_long_tail_is_as_wide_as_the_tail() -> None:
    values = np.random.default_rng(0).lognormal(0, 2, 10_000)
    bounds = bounds_of(values)
    tail = np.quantile(values, 0.995) - np.median(values)
    assert bounds.high == pytest.approx(values.max() + max(tail, 0.1 * np.ptp(values)))
    mirrored = bounds_of(-values)
    assert mirrored.low is not None
    assert -mirrored.low == pytest.approx(bounds.high)


def test_a_few_strays_among_many_rows_do_not_make_their_like_look_familiar() -> None:
    usual = np.random.default_rng(0).normal(0, 1, 10_000)
    bounds = bounds_of(np.append(usual, [4_000.0, 3_900.0, -5_000.0]))
    assert bounds.high is not None
    assert bounds.low is not None
    assert 4 < bounds.high < 100
    assert -100 < bounds.low < -4


def test_one_absurd_value_among_few_rows_is_a_stray() -> None:
    bounds = bounds_of(np.append(np.linspace(0, 1, 300), 1e12))
    assert bounds.high == pytest.approx(1.0 + 10 * 0.5, rel=0.01)
    mirrored = bounds_of(np.append(-np.linspace(0, 1, 300), -1e12))
    assert mirrored.low == pytest.approx(-6.0, rel=0.01)


def test_a_tail_that_the_others_lead_to_is_seen_to_its_end() -> None:
    values = np.append(np.linspace(0, 1, 9_997), [2.0, 3.0, 4.0])
    assert bounds_of(values).high == pytest.approx(4.0 + 0.495, rel=0.01)


def test_rare_values_of_a_column_that_is_otherwise_all_the_same_are_no_strays() -> None:
    bounds = bounds_of(np.append(np.zeros(10_000), [1.0, 1.0, 2.0]))
    assert bounds.high == pytest.approx(2.2)


def test_gaps_are_no_values_and_a_column_of_gaps_has_no_bounds() -> None:
    assert bounds_of(np.array([np.nan, 0.0, 1.0])) == bounds_of(np.array([0.0, 1.0]))
    assert bounds_of(np.full(3, np.nan)) == SeenRange(low=None, high=None)


def test_a_bound_beyond_all_numbers_is_none() -> None:
    assert bounds_of(np.array([-1.5e308, 1.5e308])) == SeenRange(low=None, high=None)


def test_a_column_that_only_grows_with_time_has_no_upper_bound() -> None:
    shuffled = np.random.default_rng(0).permutation(1_000)
    grows = bounds_of(shuffled.astype(float), np.argsort(shuffled))
    assert grows.high is None
    assert grows.low is not None
    assert bounds_of(-shuffled.astype(float), np.argsort(shuffled)).low is None
    assert bounds_of(shuffled.astype(float)).high is not None  # without a time nobody can tell


def test_a_column_is_closed_when_hardly_any_category_was_seen_once() -> None:
    known = np.full(10_000, FIRST_CODE)
    assert unseen_mass(known, 1) <= CLOSED
    known[:10] = UNKNOWN_CODE  # each of these was one row's alone
    assert unseen_mass(known, 1) > CLOSED


def test_few_rows_close_no_column() -> None:
    assert unseen_mass(np.full(1_000, FIRST_CODE), 1) > CLOSED


def test_every_number_and_the_distance_have_bounds_and_yes_or_no_has_none() -> None:
    schema = FeatureSchema(
        features=(
            Feature(name="x", kind=Kind.NUMERIC),
            Feature(name="yes", kind=Kind.BOOLEAN),
            Feature(name="s", kind=Kind.CATEGORICAL, categories=("a",)),
        )
    )
    numeric = np.stack([np.linspace(0, 1, 5_000), np.zeros(5_000)], axis=1)
    seen = what_was_seen(schema, numeric, np.full((5_000, 1), 2), np.linspace(0, 2, 100).astype(np.float32))
    assert seen.numeric.keys() == {"x"}
    assert seen.closed == ("s",)
    assert seen.distance == pytest.approx(2.99)

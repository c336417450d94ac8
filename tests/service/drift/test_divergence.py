"""Effect size and test, against hand-made numbers and against chance itself."""

import numpy as np
import pytest

from nearnorm.service.drift.divergence import Comparison, chi2_quantile, chi2_tail


@pytest.mark.parametrize(
    ("x", "df", "tail"),
    [
        (3.841, 1, 0.0500136838),
        (30.0, 1, 4.3204630578e-08),
        (10.0, 4, 0.0404276820),
        (18.307, 10, 0.0500005891),
        (50.0, 10, 2.6690834249e-07),
        (60.0, 11, 9.2721615028e-09),
        (0.0, 3, 1.0),
    ],
)
def test_the_tail_of_chi_square_is_that_of_the_tables(x: float, df: int, tail: float) -> None:
    assert chi2_tail(x, df) == pytest.approx(tail, rel=1e-6)


@pytest.mark.parametrize("df", [1, 2, 10, 51])
@pytest.mark.parametrize("alpha", [0.05, 1e-7, 1e-12])
def test_the_quantile_inverts_the_tail(alpha: float, df: int) -> None:
    assert chi2_tail(chi2_quantile(alpha, df), df) == pytest.approx(alpha, rel=1e-4)


def test_equal_shares_do_not_diverge() -> None:
    comparison = Comparison(np.array([500.0, 500.0, 900.0, 100.0]), np.array([2, 2]), 1000)
    found = comparison.of(np.array([500, 500, 900, 100]))
    assert found.psi.tolist() == [0.0, 0.0]
    assert found.g == pytest.approx([0.0, 0.0], abs=1e-9)


def test_psi_is_its_textbook_sum_less_its_mean_under_chance() -> None:
    """Half a row more in every cell, on both sides; chance alone has a mean of 2 (1/400 + 1/1,000)."""
    reference, seen = np.array([500.0, 300.0, 200.0]), np.array([140, 120, 140])
    p, q = (seen + 0.5) / 401.5, (reference + 0.5) / 1001.5
    textbook = ((p - q) * np.log(p / q)).sum()
    found = Comparison(reference, np.array([3]), 1000).of(seen)
    assert textbook > 0.1
    assert found.psi[0] == pytest.approx(textbook - 2 * (1 / 400 + 1 / 1000), abs=1e-12)


def test_psi_of_unchanged_traffic_is_as_often_above_its_mean_as_chance_allows() -> None:
    """Less its mean, and never below 0, half of the draws come to nothing; without it, none do."""
    rng = np.random.default_rng(2)
    p = np.array([0.1, 0.2, 0.3, 0.4])
    comparison = Comparison(p * 1e9, np.array([4]), 1000)
    nothing = np.mean([comparison.of(seen).psi[0] == 0 for seen in rng.multinomial(1000, p, size=2_000)])
    assert 0.55 < nothing < 0.67  # P(chi-square with 3 degrees < 3) = 0.61


def test_a_signal_is_untouched_by_its_neighbours() -> None:
    comparison = Comparison(np.array([500.0, 500.0, 900.0, 100.0]), np.array([2, 2]), 1000)
    found = comparison.of(np.array([900, 100, 900, 100]))
    assert found.psi[0] > 0.5
    assert found.psi[1] == 0.0


def test_thin_cells_are_judged_together() -> None:
    reference = np.array([0.0, 994.0, 1.0, 2.0, 3.0, 0.0])
    comparison = Comparison(reference, np.array([6]), 1000)
    assert comparison.df.tolist() == [1]
    scattered = comparison.of(np.array([30, 850, 30, 30, 30, 30]))
    gathered = comparison.of(np.array([0, 850, 150, 0, 0, 0]))
    assert scattered.g == pytest.approx(gathered.g)


def test_nothing_seen_is_no_divergence() -> None:
    found = Comparison(np.array([500.0, 500.0]), np.array([2]), 1000).of(np.array([0, 0]))
    assert found.g[0] == pytest.approx(0.0, abs=1e-6)


def test_chance_exceeds_the_critical_value_as_often_as_it_should() -> None:
    """Both sides drawn anew from one distribution: 5% of 20,000 pairs, whose share has a sd of 0.15%."""
    rng = np.random.default_rng(1)
    p = np.array([0.02, 0.08, 0.1, 0.2, 0.25, 0.35])
    exceeded = 0
    for reference in rng.multinomial(1500, p, size=200):
        comparison = Comparison(reference.astype(np.float64), np.array([6]), 1000)
        critical = comparison.critical(0.05)[0]
        exceeded += sum(comparison.of(seen).g[0] > critical for seen in rng.multinomial(1000, p, size=20))
    assert 0.04 < exceeded / 4000 < 0.065

"""The soak's judge finds a leak, and does not take noise for one."""

import numpy as np
import pytest

from tests.chaos.hostile_phases import Phase, undisturbed, waits
from tests.chaos.trends import late_over_early, trend

SECONDS = [5.0 * i for i in range(360)]  # half an hour


def noisy(seed: int, growth: float) -> list[float]:
    """About 150, with a noise that lasts for some samples, growing by so much in the half hour."""
    steps = np.random.default_rng(seed).normal(size=360)
    noise = np.convolve(steps, np.full(6, 0.5), mode="same")
    values: list[float] = (150 + noise + np.linspace(0, growth, 360)).tolist()
    return values


def test_a_leak_of_a_twentieth_is_found_every_time() -> None:
    assert all(trend(SECONDS, noisy(seed, growth=8.0)).grows for seed in range(50))


def test_noise_is_no_leak() -> None:
    assert not any(trend(SECONDS, noisy(seed, growth=0.0)).grows for seed in range(50))


def test_what_fills_at_the_start_is_no_leak() -> None:
    filling = [min(150.0, 100.0 + second) for second in SECONDS]
    assert not trend(SECONDS, filling).grows


def test_one_descriptor_a_minute_is_a_leak() -> None:
    assert trend(SECONDS, [40 + second // 60 for second in SECONDS]).grows
    assert not trend(SECONDS, [40.0] * 360).grows


def test_the_last_quarter_is_held_against_the_first() -> None:
    latencies = [1.0 if second < 1000 else 2.0 for second in SECONDS]
    assert late_over_early(SECONDS, latencies) == (1.0, 2.0, 2.0)


def test_too_short_a_run_says_nothing() -> None:
    with pytest.raises(ValueError, match="too few"):
        trend(SECONDS[:20], [1.0] * 20)
    with pytest.raises(ValueError, match="no samples"):
        trend([], [])


def test_waits_are_told_apart_by_where_the_hostile_caller_is() -> None:
    latencies = [(0.0, 900.0)]  # before his first phase
    latencies += [(float(s), 6.0 if s <= 30 else 4.0 if s <= 50 else 3.0) for s in range(20, 60)]
    phases = [Phase("service", 20.0, 30.0), Phase("another", 31.0, 50.0)]
    assert waits(latencies, phases) == (6.0, 4.0, 3.0)
    assert waits(latencies, [*phases, Phase("service", 51.0, 60.0)]).beside == 6.0


def test_whether_it_gets_slower_is_asked_while_the_hostile_caller_is_nowhere() -> None:
    latencies = [(float(s), 9.0 if s > 30 else 3.0) for s in range(40)]
    phases = [Phase("service", 31.0, 36.0), Phase("another", 36.5, 50.0)]
    assert {waited for _, waited in undisturbed(latencies, phases)} == {3.0}


def test_one_step_is_told_and_is_no_slope_and_two_are_a_slope() -> None:
    one = trend(SECONDS, [81.0 if second < 900 else 98.0 for second in SECONDS])
    assert not one.grows
    assert one.step == pytest.approx(17, abs=3)  # it comes within a block
    assert trend(SECONDS, [80.0 + 8 * (second // 600) for second in SECONDS]).grows
    assert trend(SECONDS, noisy(0, growth=8.0)).step is None

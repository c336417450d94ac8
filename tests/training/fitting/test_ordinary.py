import numpy as np
import pytest

from nearnorm.training.fitting.ordinary import LABELS, ordinary

HELD_OUT = np.random.default_rng(0).permutation(1_000).astype(np.float64)


def at(rank: float, anomalies: int = LABELS[1]) -> float:
    """How ordinary anomalies are that all stand at this rank."""
    return ordinary(HELD_OUT, np.full(anomalies, 1_000 * rank))


def test_anomalies_that_are_rebuilt_as_well_as_any_record_are_ordinary_and_the_worst_are_not() -> None:
    assert at(0.0) == at(0.5) == 1.0
    assert at(0.65) == pytest.approx(0.5, abs=0.01)
    assert at(0.8) == at(1.5) == 0.0


def test_up_to_five_anomalies_say_nothing_of_it_and_ten_all() -> None:
    assert [at(0.5, anomalies) for anomalies in (0, 1, 5, 30)] == [0.0, 0.0, 0.0, 1.0]
    assert at(0.5, 8) == pytest.approx(0.6)


def test_where_all_rows_are_alike_an_anomaly_stands_in_the_middle() -> None:
    assert ordinary(np.zeros(50), np.zeros(LABELS[1])) == 1.0

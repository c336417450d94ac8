"""The estimate of recall against made-up traffic whose recall is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from nearnorm.service.feedback.recall import Stratum, Weights, estimate


def alike(count: int, rows: float = 1.0) -> Weights:
    """So many events that each stand for `rows` rows of traffic."""
    return Weights(count, count * rows, count * rows**2)


def stratum(events: int, labelled: int, anomalies: int, rows: float = 1.0) -> Stratum:
    return Stratum(alike(events, rows), alike(labelled, rows), alike(anomalies, rows))


def test_without_an_event_found_anomalous_there_is_no_estimate() -> None:
    assert estimate(Stratum(), Stratum()) is None
    assert estimate(stratum(10, 10, 0), stratum(1_000, 100, 0)) is None


def test_a_stratum_nobody_looked_at_allows_no_estimate() -> None:
    assert estimate(stratum(10, 10, 8), stratum(1_000, 0, 0)) is None
    assert estimate(stratum(10, 0, 0), stratum(1_000, 10, 1)) is None


def test_alerts_alone_tell_nothing_of_what_was_missed() -> None:
    assert estimate(stratum(10, 10, 8), Stratum()) is None


def test_each_stratum_weighs_by_its_events_not_by_its_labels() -> None:
    found = estimate(stratum(20, 20, 10), stratum(1_000, 100, 1))
    assert found is not None
    assert found.estimate == pytest.approx(10 / (10 + 10))
    assert found.low < 0.5 < found.high
    assert (found.labelled, found.anomalies) == (120, 11)


def test_an_event_of_the_audit_slice_weighs_as_much_as_the_rows_it_stands_for() -> None:
    found = estimate(stratum(20, 20, 10), stratum(10, 10, 1, rows=100.0))
    assert found is not None
    assert found.estimate == pytest.approx(10 / (10 + 100))


def test_more_labels_make_the_interval_narrower() -> None:
    few, many = (
        estimate(stratum(20, 10, 5), stratum(1_000, 100, 1)),
        estimate(stratum(2_000, 1_000, 500), stratum(100_000, 10_000, 100)),
    )
    assert few is not None
    assert many is not None
    assert many.estimate == pytest.approx(few.estimate)
    assert many.high - many.low < 0.3 * (few.high - few.low)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """200,000 rows with 2% anomalies and a recall of 0.7, that come by day or in a burst of fewer anomalies.

    All alerts are kept, 2% of the rest by day and 0.4% of it in the burst. A third of the alerts and a fifth
    of the rest are labelled.
    """
    rng = np.random.default_rng(3)
    covered = told = 0
    for _ in range(200):
        burst = rng.random(200_000) < 0.5
        anomaly = rng.random(200_000) < np.where(burst, 0.01, 0.03)
        alert = np.where(anomaly, rng.random(200_000) < 0.7, rng.random(200_000) < 0.005)
        chance = np.where(alert, 1.0, np.where(burst, 0.004, 0.02))
        kept = rng.random(200_000) < chance
        labelled = rng.random(200_000) < np.where(alert, 0.33, 0.2)
        strata = [
            Stratum(
                *(_weights(1 / chance[s & kept & which]) for which in (kept, labelled, labelled & anomaly))
            )
            for s in (alert, ~alert)
        ]
        found = estimate(*strata)
        if found:
            told += 1
            covered += found.low <= 0.7 <= found.high
    assert told > 190
    assert 0.90 < covered / told <= 1.0


def _weights(rows: NDArray[np.float64]) -> Weights:
    return Weights(len(rows), float(rows.sum()), float((rows**2).sum()))

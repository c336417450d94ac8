"""The estimate of recall against made-up traffic whose recall is known."""

import numpy as np
import pytest

from service.recall import Stratum, estimate


def test_without_an_anomaly_in_the_audit_slice_there_is_no_estimate() -> None:
    assert estimate(Stratum(), Stratum()) is None
    assert estimate(Stratum(10, 10, 0), Stratum(1_000, 100, 0)) is None


def test_a_stratum_nobody_looked_at_allows_no_estimate() -> None:
    assert estimate(Stratum(10, 10, 8), Stratum(1_000, 0, 0)) is None


def test_each_stratum_weighs_by_its_events_not_by_its_labels() -> None:
    found = estimate(Stratum(20, 20, 10), Stratum(1_000, 100, 1))
    assert found is not None
    assert found.estimate == pytest.approx(10 / (10 + 10))
    assert found.low < 0.5 < found.high
    assert (found.labelled, found.anomalies) == (120, 11)


def test_more_labels_make_the_interval_narrower() -> None:
    few, many = (
        estimate(Stratum(20, 10, 5), Stratum(1_000, 100, 1)),
        estimate(Stratum(2_000, 1_000, 500), Stratum(100_000, 10_000, 100)),
    )
    assert few is not None
    assert many is not None
    assert many.estimate == pytest.approx(few.estimate)
    assert many.high - many.low < 0.3 * (few.high - few.low)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Traffic with 2% anomalies and a recall of 0.7; all audited alerts are labelled, a fifth of the rest."""
    rng = np.random.default_rng(3)
    covered = told = 0
    for _ in range(300):
        anomaly = rng.random(3_000) < 0.02
        alert = np.where(anomaly, rng.random(3_000) < 0.7, rng.random(3_000) < 0.005)
        labelled = alert | (rng.random(3_000) < 0.2)
        strata = [
            Stratum(int(s.sum()), int((s & labelled).sum()), int((s & labelled & anomaly).sum()))
            for s in (alert, ~alert)
        ]
        found = estimate(*strata)
        if found:
            told += 1
            covered += found.low <= 0.7 <= found.high
    assert told > 290
    assert 0.90 < covered / told <= 1.0

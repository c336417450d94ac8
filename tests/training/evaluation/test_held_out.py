import numpy as np
import pytest

from nearnorm.models.conformal import ranks, threshold
from nearnorm.training.dataset.load import Dataset, load, split
from nearnorm.training.evaluation.crossfit import cross_fit, measurable
from nearnorm.training.evaluation.held_out import held_out, measure, of_labels
from tests.training.conftest import PAYMENTS
from tests.training.samples import quick


def relabelled(anomalies: int) -> Dataset:
    """The payments sample with only so many of its labelled anomalies."""
    data = load(PAYMENTS, "label")
    rows = np.flatnonzero(data.labels == 1)
    labels = data.labels.copy()
    labels[rows[anomalies:]] = -1
    return Dataset(data.schema, data.numeric, data.codes, labels, None, data.facts, ())


def test_a_rank_alerts_exactly_where_the_conformal_threshold_does() -> None:
    rng = np.random.default_rng(0)
    reference, new = rng.normal(size=499), rng.normal(size=10_000)
    alert = measure("", ranks(new, reference), np.r_[1, np.zeros(9_999)].astype(int), 499)
    above = new[1:] >= threshold(reference, 0.01)
    assert alert.metrics["false_alert_rate"] == pytest.approx(above.mean())


def test_cross_fitting_tells_what_it_found_and_how_far_it_is() -> None:
    data = relabelled(6)
    seen: list[float] = []
    rows = split(data, 0)
    evidence = of_labels(data, rows, cross_fit(data, rows, quick(), 0, seen.append))
    assert evidence.truth.sum() == 6
    average_precision, prevalence = evidence.metrics["average_precision"], evidence.metrics["prevalence"]
    assert average_precision is not None
    assert prevalence is not None
    assert average_precision > 3 * prevalence
    assert "6 labelled anomalies" in evidence.how
    assert (sorted(set(seen)), seen) == ([0.0, 0.5, 1.0], sorted(seen))
    assert len(seen) > 2, "it tells within a fold that it goes on"


@pytest.mark.parametrize(("anomalies", "told"), [(0, "there are none"), (1, "there is one")])
def test_without_two_labelled_anomalies_nothing_is_claimed(anomalies: int, told: str) -> None:
    data = relabelled(anomalies)
    assert not measurable(data.labels)
    evidence = of_labels(data, split(data, 0), None)
    assert told in evidence.how
    assert set(evidence.metrics.values()) == {None}


def test_with_too_few_reference_rows_recall_at_the_budget_is_not_claimed() -> None:
    metrics = measure("", np.array([0.1, 0.9]), np.array([0, 1]), 50).metrics
    assert metrics["average_precision"] == 1.0
    assert metrics["recall_at_budget"] is None


def test_a_held_out_file_tells_how_much_quieter_than_asked_the_threshold_is() -> None:
    rng = np.random.default_rng(0)
    normal, anomalous = rng.normal(size=5_000), 4 + rng.normal(size=300)
    reference = np.concatenate([rng.normal(size=900), 4 + rng.normal(size=90)])
    rank = ranks(np.concatenate([normal, anomalous]), reference)
    labels = np.concatenate([np.zeros(5_000), np.ones(300)]).astype(np.int8)
    metrics = held_out(labels, rank, len(reference), False).metrics
    recall, clean, alerts = (
        metrics[name] for name in ("recall_at_budget", "recall_at_clean_budget", "false_alert_rate")
    )
    assert recall is not None
    assert clean is not None
    assert alerts is not None
    assert recall < 0.2 < 0.9 < clean
    assert alerts < 0.01


def test_unlabelled_rows_of_a_held_out_file_are_not_judged() -> None:
    evidence = held_out(np.array([1, -1, 0], np.int8), np.array([0.9, 0.95, 0.1]), 200, False)
    assert evidence.truth.tolist() == [1, 0]

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from nearnorm.models.conformal import ranks, threshold
from nearnorm.training.dataset.load import Dataset, load, split
from nearnorm.training.evaluation.crossfit import CrossFit, cross_fit, measurable
from nearnorm.training.evaluation.held_out import held_out, measure, of_labels
from tests.training.conftest import PAYMENTS
from tests.training.samples import quick


def relabelled(anomalies: int) -> Dataset:
    """The payments sample with only so many of its labelled anomalies."""
    data = load(PAYMENTS, "label")
    rows = np.flatnonzero(data.labels == 1)
    labels = data.labels.copy()
    labels[rows[anomalies:]] = -1
    return Dataset(data.schema, data.numeric, data.codes, labels, None, data.facts, (), ())


def test_a_rank_alerts_exactly_where_the_conformal_threshold_does() -> None:
    rng = np.random.default_rng(0)
    reference, new = rng.normal(size=499), 2 + rng.normal(size=10_000)
    metrics = measure(ranks(new, reference), 499)
    assert metrics["recall_at_budget"] == pytest.approx((new >= threshold(reference, 0.01)).mean())


def test_cross_fitting_tells_where_anomalies_rank_and_nothing_that_hidden_ones_would_spoil() -> None:
    data = relabelled(12)
    seen: list[float] = []
    rows = split(data, 0)
    evidence = of_labels(data, rows, cross_fit(data, rows, quick(), 0, seen.append))
    assert evidence.truth.sum() == 12
    low, median, high = (evidence.metrics[f"median_rarity{end}"] for end in ("_low", "", "_high"))
    assert low is not None
    assert median is not None
    assert high is not None
    assert low <= median <= high
    assert median < 0.2
    unknown = ("average_precision", "prevalence", "false_alert_rate", "recall_at_clean_budget")
    assert {evidence.metrics[name] for name in unknown} == {None}
    assert "12 labelled anomalies" in evidence.how
    assert "unlabelled records hide more of them" in evidence.how
    assert (sorted(set(seen)), seen) == ([0.0, 0.5, 1.0], sorted(seen))
    assert len(seen) > 2, "it tells within a fold that it goes on"


def test_the_headline_is_a_sentence_to_repeat() -> None:
    data = relabelled(12)
    rows = split(data, 0)
    reference = np.arange(598) / 599
    rank = np.r_[[0.998] * 9, 0.9, 0.8, 0.5]
    crossed = CrossFit(rows.fit[data.labels[rows.fit] == 1], rank, rank, np.stack([reference] * 2))
    assert of_labels(data, rows, crossed).headline == (
        "Of anomalies like the 12 labelled ones half are among the strangest 0.5% of records (between 0.5% "
        "and 20%), and at the default budget about 75% of them alert (between 43% and 92%)."
    )


def test_labelled_anomalies_count_among_the_records_as_if_nobody_had_labelled_them() -> None:
    """Ten anomalies above all of 99 rows, of an eighth of the data: 1 of 100 places is a normal one's."""
    metrics = measure(np.full(10, 0.99), 99, weight=0.125)
    assert metrics["median_rarity"] == pytest.approx((1 + 1.25) / (100 + 1.25))
    data = relabelled(12)
    rows = split(data, 0)
    crossed = CrossFit(
        rows.fit[data.labels[rows.fit] == 1], np.zeros(12), np.full(12, 596 / 597), np.zeros((2, 596))
    )
    median = of_labels(data, rows, crossed).metrics["median_rarity"]
    weight = len(rows.reference) / (data.labels == -1).sum()
    assert median == pytest.approx((1 + 12 * weight) / (len(rows.reference) + 1 + 12 * weight), rel=1e-3)
    facts = data.facts.model_copy(update={"drawn_from": 100 * data.facts.unlabelled})
    drawn = of_labels(replace(data, facts=facts), rows, crossed).metrics["median_rarity"]
    weight /= 100
    assert drawn == pytest.approx((1 + 12 * weight) / (len(rows.reference) + 1 + 12 * weight), rel=1e-2)
    known = of_labels(data, replace(rows, sample="a digest"), crossed).metrics["median_rarity"]
    assert known == pytest.approx(1 / 597), "a sample of normals has no anomalies to count"


def test_with_too_few_labels_for_an_interval_no_figure_is_claimed() -> None:
    data = relabelled(6)
    rows = split(data, 0)
    rank = np.full(6, 0.9)
    crossed = CrossFit(rows.fit[data.labels[rows.fit] == 1], rank, rank, np.zeros((2, 598)))
    evidence = of_labels(data, rows, crossed)
    assert evidence.metrics["median_rarity"] is None
    assert "8 labelled ones are the least" in evidence.headline


@pytest.mark.parametrize(("anomalies", "told"), [(0, "there are none"), (1, "there is one")])
def test_without_two_labelled_anomalies_nothing_is_claimed(anomalies: int, told: str) -> None:
    data = relabelled(anomalies)
    assert not measurable(data.labels)
    evidence = of_labels(data, split(data, 0), None)
    assert told in evidence.how
    assert set(evidence.metrics.values()) == {None}


def test_with_too_few_reference_rows_recall_at_the_budget_is_not_claimed() -> None:
    metrics = measure(np.full(10, 0.9), 50)
    assert metrics["median_rarity"] == pytest.approx(0.1)
    assert metrics["recall_at_budget"] is None


def test_a_held_out_file_tells_how_much_quieter_than_asked_the_threshold_is() -> None:
    rng = np.random.default_rng(0)
    normal, anomalous = rng.normal(size=5_000), 4 + rng.normal(size=300)
    reference = np.concatenate([rng.normal(size=900), 4 + rng.normal(size=90)])
    rank = ranks(np.concatenate([normal, anomalous]), reference)
    labels = np.concatenate([np.zeros(5_000), np.ones(300)]).astype(np.int8)
    evidence = held_out(labels, rank, len(reference), False)
    metrics = evidence.metrics
    recall, clean, alerts = (
        metrics[name] for name in ("recall_at_budget", "recall_at_clean_budget", "false_alert_rate")
    )
    assert recall is not None
    assert clean is not None
    assert alerts is not None
    assert recall < 0.2 < 0.9 < clean
    assert alerts < 0.01
    assert metrics["average_precision"] == pytest.approx(average_precision_score(labels, rank))
    assert f"{recall:.1%} of 300 held-out anomalies alert" in evidence.headline
    assert "hide anomalies too, which makes it quieter than asked" in evidence.how


def test_unlabelled_rows_of_a_held_out_file_are_not_judged() -> None:
    evidence = held_out(np.array([1, -1, 0], np.int8), np.array([0.9, 0.95, 0.1]), 200, False)
    assert evidence.truth.tolist() == [1, 0]

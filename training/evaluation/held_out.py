"""How well anomalies are found that the model did not train on, as far as labels can tell."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score

from nearnorm.models.conformal import DEFAULT_BUDGET, lowest_rank, usable_budget
from nearnorm.training.dataset.load import ANOMALY, UNLABELLED, Dataset, Split
from nearnorm.training.evaluation.crossfit import FOLDS, CrossFit


@dataclass(frozen=True)
class Evidence:
    """Ranks of rows that were not trained on, and what they come to.

    `how` says in a sentence what was measured. `rank` [N] is the share of reference rows that score
    lower; `truth` [N] is 1 for an anomaly. Both are empty where nothing can be measured.
    """

    how: str
    rank: np.ndarray
    truth: np.ndarray
    metrics: dict[str, float | None]


def measure(how: str, rank: np.ndarray, truth: np.ndarray, reference_rows: int) -> Evidence:
    """Average precision, recall and false alerts at the default budget; None where not measurable."""
    anomalous = truth == 1
    metrics: dict[str, float | None] = {
        "average_precision": None,
        "prevalence": None,
        "recall_at_budget": None,
        "false_alert_rate": None,
        "recall_at_clean_budget": None,
    }
    if anomalous.any() and not anomalous.all():
        metrics["average_precision"] = float(average_precision_score(anomalous, rank))
        metrics["prevalence"] = float(anomalous.mean())
        if usable_budget(DEFAULT_BUDGET, reference_rows) == DEFAULT_BUDGET:
            alert = rank >= lowest_rank(DEFAULT_BUDGET)
            metrics["recall_at_budget"] = float(alert[anomalous].mean())
            metrics["false_alert_rate"] = float(alert[~anomalous].mean())
    return Evidence(how, rank, truth, metrics)


def of_labels(data: Dataset, split: Split, crossed: CrossFit | None) -> Evidence:
    """What cross-fitted ranks come to: anomalies, and the normals that analysts confirmed, among the
    held-out reference rows, which stand for what is not labelled. None: there was nothing to fit for."""
    anomalies = int((data.labels[split.fit] == ANOMALY).sum())
    if crossed is None:
        return measure(
            f"Not measurable: cross-fitting needs at least {FOLDS} labelled anomalies, and there "
            f"{'is one' if anomalies == 1 else 'are none'}.",
            np.empty(0),
            np.empty(0),
            0,
        )
    reference = crossed.reference_rank.ravel()
    truth = np.concatenate([data.labels[crossed.rows] == ANOMALY, np.zeros(len(reference), bool)])
    return measure(
        f"Cross-fitting: {anomalies} labelled anomalies, each ranked by a model that trained on half of "
        f"the labels and not on this one, among {len(split.reference):,} held-out rows. Anomalies hidden "
        "among those count as false alerts, so the truth is rather better.",
        np.concatenate([crossed.rank, reference]),
        truth.astype(int),
        len(split.reference),
    )


def held_out(labels: np.ndarray, rank: np.ndarray, reference_rows: int, known_normal: bool) -> Evidence:
    """The figures of a file that training never saw; its unlabelled rows are left out.

    `recall_at_clean_budget` is the recall where the budget of these rows that are known to be normal
    alert: what a reference without hidden anomalies would allow, `known_normal` or not.
    """
    labelled = labels != UNLABELLED
    rank, truth = rank[labelled], (labels[labelled] == ANOMALY).astype(int)
    how = (
        f"A held-out file that training never saw: {truth.sum():,} anomalies among "
        f"{len(truth):,} labelled rows."
    )
    evidence = measure(how, rank, truth, reference_rows)
    recall, alerts = evidence.metrics["recall_at_budget"], evidence.metrics["false_alert_rate"]
    if recall is None or alerts is None:
        return evidence
    clean = float((rank[truth == 1] > np.quantile(rank[truth == 0], 1.0 - DEFAULT_BUDGET)).mean())
    ground = "was calibrated by a sample of rows known to be normal"
    if not known_normal:
        ground = "was calibrated on rows that hide anomalies too, which makes it quieter than asked"
    how += (
        f" The threshold for {DEFAULT_BUDGET:.0%} alerts on {alerts:.2%} of its normal rows and "
        f"finds {recall:.1%} of its anomalies; it {ground}. Exactly {DEFAULT_BUDGET:.0%} of false alerts "
        f"would find {clean:.1%}."
    )
    return Evidence(how, rank, truth, {**evidence.metrics, "recall_at_clean_budget": clean})

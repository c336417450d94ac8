"""How well anomalies are found that the model did not train on, as far as labels can tell.

What labelled anomalies among unlabelled rows tell is where such anomalies rank, and what share of them
alerts. They do not tell how many of the alerts are right, nor average precision: that takes the number of
anomalies that hide among the unlabelled rows. It is told where a wholly labelled file is measured.
"""

from dataclasses import dataclass

import numpy as np

from nearnorm.models.conformal import DEFAULT_BUDGET, lowest_rank, usable_budget
from nearnorm.training.dataset.labels import ANOMALY, UNLABELLED
from nearnorm.training.dataset.load import Dataset, Split
from nearnorm.training.evaluation.crossfit import FOLDS, CrossFit
from nearnorm.training.evaluation.intervals import fewest_for_a_median, median_interval, share_interval
from nearnorm.training.method.precision import average_precision

METRICS = (
    "median_rarity",
    "median_rarity_low",
    "median_rarity_high",
    "recall_at_budget",
    "recall_at_budget_low",
    "recall_at_budget_high",
    "false_alert_rate",
    "recall_at_clean_budget",
    "average_precision",
    "prevalence",
)
"""Of a report and a manifest; None: not known."""


@dataclass(frozen=True)
class Evidence:
    """Ranks of rows that were not trained on, and what they come to.

    `headline` is what to repeat of it, `how` says how it was measured. `rank` [N] is the share of reference
    rows that score lower; `truth` [N] is 1 for an anomaly. Both are empty where nothing can be measured.
    """

    headline: str
    how: str
    rank: np.ndarray
    truth: np.ndarray
    metrics: dict[str, float | None]


def measure(rank: np.ndarray, reference_rows: int, weight: float = 0.0) -> dict[str, float | None]:
    """Where anomalies rank: `rank` [N] is theirs. Among how many of the strangest records half of them are,
    and what share of them alerts at the default budget, with intervals; None where they are too few.

    Anomalies that were labelled are not among the reference rows, but are among the records to come:
    `weight` is how many reference rows each would have been.
    """
    metrics: dict[str, float | None] = dict.fromkeys(METRICS)
    as_strange = len(rank) - np.searchsorted(np.sort(rank), rank, side="left")
    records = reference_rows + 1 + weight * len(rank)
    median = median_interval(((1.0 - rank) * (reference_rows + 1) + weight * as_strange) / records)
    if median is not None:
        names = ("median_rarity_low", "median_rarity", "median_rarity_high")
        metrics.update(zip(names, median, strict=True))
    if len(rank) and usable_budget(DEFAULT_BUDGET, reference_rows) == DEFAULT_BUDGET:
        hits = int((rank >= lowest_rank(DEFAULT_BUDGET)).sum())
        low, high = share_interval(hits, len(rank))
        metrics["recall_at_budget"] = hits / len(rank)
        metrics["recall_at_budget_low"], metrics["recall_at_budget_high"] = low, high
    return metrics


def of_labels(data: Dataset, split: Split, crossed: CrossFit | None) -> Evidence:
    """What cross-fitted ranks of the labelled anomalies come to. None: there was nothing to fit for."""
    anomalies = int((data.labels[split.fit] == ANOMALY).sum())
    records = "records known to be normal" if split.sample else "records"
    if crossed is None:
        how = (
            f"Not measurable: cross-fitting needs at least {FOLDS} labelled anomalies, and there "
            f"{'is one' if anomalies == 1 else 'are none'}."
        )
        headline = "How well it finds anomalies is not known: label some, and train again."
        return Evidence(headline, how, np.empty(0), np.empty(0), measure(np.empty(0), 0))
    anomalous = data.labels[crossed.rows] == ANOMALY
    unlabelled = int((data.labels == UNLABELLED).sum()) * data.facts.stands_for
    weight = 0.0 if split.sample else len(split.reference) / unlabelled
    metrics = measure(crossed.rank[anomalous], len(split.reference), weight)
    how = (
        f"Cross-fitting: {anomalies} labelled anomalies, each ranked by a model that trained on half of the "
        f"labels and not on this one, among {len(split.reference):,} {records} that no model trained on. It "
        "holds for anomalies like these. How many of the alerts are right (average precision, precision) "
        "cannot be told from labelled anomalies alone: "
        + (
            "that depends on how many anomalies your traffic has."
            if split.sample
            else "unlabelled records hide more of them."
        )
    )
    reference = crossed.reference_rank.ravel()
    return Evidence(
        _headline(f"the {anomalies} labelled ones", metrics, records),
        how,
        np.concatenate([crossed.rank, reference]),
        np.concatenate([anomalous, np.zeros(len(reference), bool)]).astype(int),
        metrics,
    )


def _headline(like: str, metrics: dict[str, float | None], records: str) -> str:
    rarity, low, high = (metrics[f"median_rarity{end}"] for end in ("", "_low", "_high"))
    if rarity is None or low is None or high is None:
        return (
            f"How well it finds anomalies is not known yet: {fewest_for_a_median()} labelled ones are the "
            "least to tell it by."
        )
    return (
        f"Of anomalies like {like} half are among the strangest {_percent(rarity)} of {records} (between "
        f"{_percent(low)} and {_percent(high)}){_alerting(metrics)}."
    )


def _alerting(metrics: dict[str, float | None]) -> str:
    found, low, high = (metrics[f"recall_at_budget{end}"] for end in ("", "_low", "_high"))
    if found is None or low is None or high is None:
        return ""
    return f", and at the default budget about {found:.0%} of them alert (between {low:.0%} and {high:.0%})"


def _percent(share: float) -> str:
    return f"{100 * share:.2g}%" if share < 0.1 else f"{share:.0%}"


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
    metrics = measure(rank[truth == 1], reference_rows)
    headline = _headline(f"the {truth.sum():,} held-out ones", metrics, "records")
    if not 0 < truth.sum() < len(truth):
        return Evidence(headline, how, rank, truth, metrics)
    metrics["average_precision"] = average_precision(truth, rank)
    metrics["prevalence"] = float(truth.mean())
    recall = metrics["recall_at_budget"]
    if recall is None:
        return Evidence(headline, how, rank, truth, metrics)
    alerts = float((rank[truth == 0] >= lowest_rank(DEFAULT_BUDGET)).mean())
    clean = float((rank[truth == 1] > np.quantile(rank[truth == 0], 1.0 - DEFAULT_BUDGET)).mean())
    metrics["false_alert_rate"], metrics["recall_at_clean_budget"] = alerts, clean
    ground = "was calibrated by a sample of rows known to be normal"
    if not known_normal:
        ground = "was calibrated on rows that hide anomalies too, which makes it quieter than asked"
    how += (
        f" The threshold for {DEFAULT_BUDGET:.0%} {ground}. Exactly {DEFAULT_BUDGET:.0%} of false alerts "
        f"would find {clean:.1%}."
    )
    headline = (
        f"At the default budget {recall:.1%} of {truth.sum():,} held-out anomalies alert, and {alerts:.2%} "
        f"of {int((truth == 0).sum()):,} held-out records that are normal."
    )
    return Evidence(headline, how, rank, truth, metrics)

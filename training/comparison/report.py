"""The report of `nearnorm evaluate`: one page, and the same figures for programs."""

from html import escape
from pathlib import Path
from string import Template

import numpy as np

from nearnorm.models.conformal import DEFAULT_BUDGET
from nearnorm.training.comparison.compare import Trial, verdict
from nearnorm.training.reporting import plots


def trial_json(trial: Trial) -> dict[str, object]:
    """Figures by method, one a split, and the verdict."""
    return {
        "verdict": verdict(trial),
        "labelled_anomalies": trial.labelled,
        "test_rows": trial.test_rows,
        "test_anomalies": trial.test_anomalies,
        "normals_known": trial.normals_known,
        "budget": DEFAULT_BUDGET,
        "average_precision": trial.average_precision,
        "recall_at_clean_budget": trial.recall,
    }


def trial_html(trial: Trial, source: str, seed: int) -> str:
    """One self-contained page: plots are inline, nothing is fetched."""
    template = Template(Path(__file__).with_name("trial.html").read_text(encoding="utf-8"))
    return template.substitute(
        source=escape(source),
        seed=seed,
        verdict=escape(verdict(trial)),
        protocol=escape(_protocol(trial)),
        precision=plots.method_dots(trial.average_precision, "average precision"),
        recall=plots.method_dots(
            trial.recall, f"share of anomalies found at {DEFAULT_BUDGET:.0%} false alerts"
        ),
        rows="".join(_row(trial, name) for name in _ranked(trial)),
    )


def _ranked(trial: Trial) -> list[str]:
    return sorted(trial.average_precision, key=lambda name: -float(np.mean(trial.average_precision[name])))


def _row(trial: Trial, name: str) -> str:
    precision, recall = trial.average_precision[name], trial.recall[name]
    return (
        f"<tr><td>{escape(name)}</td><td>{np.mean(precision):.3f} ± {np.std(precision):.3f}</td>"
        f"<td>{np.mean(recall):.1%}</td></tr>"
    )


def _protocol(trial: Trial) -> str:
    splits = len(next(iter(trial.average_precision.values())))
    text = (
        f"{splits} random splits. Each trains on 70% of the rows with the labels of {trial.labelled} "
        f"anomalies and no others, and is judged by the rest: {trial.test_rows:,} rows, "
        f"{trial.test_anomalies} of them anomalies."
    )
    if trial.normals_known:
        return text
    return (
        f"{text} Few rows are confirmed as normal, so unlabelled rows are taken for normal ones: an anomaly "
        "that nobody has labelled counts against whoever finds it, and all figures are lower bounds."
    )

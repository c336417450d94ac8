"""What verdicts on a new model's reference, and on live alerts, are worth: recall and false alerts at 1%.

    python -m tests.benchmarks.verdict.bench_review --seeds 0,1,2

Reviews: the highest rows of the reference are judged truthfully, one after the other; confirmed anomalies
leave. Live: 20,000 rows of traffic are drawn from half of the test rows; alerts, any of them at random, are
judged truthfully five by five, and of twenty labels one is of a random row; the threshold is solved after
each five, and measured on the other half. Liar: the same on a reference without anomalies, where every alert
is called one. `ideal` is what alerting on exactly 1% of the true normals of the measured rows finds.
Needs BENCH_DATA.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nearnorm.models.conformal import DEFAULT_BUDGET, Policy, Ranks, lowest_anomaly, usable_budget
from nearnorm.service.ledger.tables.feedback.judged import JudgedEvent
from nearnorm.service.verdict import live_labels
from nearnorm.service.verdict.traffic import score_bins
from tests.benchmarks.sets.bench_data import bench_data
from tests.benchmarks.verdict.verdict_cells import Verdicts, cells

REVIEWS = (0, 20, 50, 100, 200)
TRAFFIC = 20_000
AT_ONCE = 5
BLUR = 0.03  # of log odds: rows that are drawn twice are not the same record

Found = tuple[float, float]
"""Recall and false alerts."""


def measured(scores: np.ndarray, truth: np.ndarray, lowest: float) -> Found:
    alert = scores >= np.float32(lowest)
    return float(alert[truth].mean()), float(alert[~truth].mean())


def reviewed(cell: Verdicts, reviews: int) -> Found:
    """After so many verdicts on the reference."""
    top = np.argsort(-cell.reference, kind="stable")[:reviews]
    kept = np.sort(np.delete(cell.reference, top[cell.reference_truth[top]]))
    _, alert = Ranks(kept, Policy(usable_budget(DEFAULT_BUDGET, len(kept)))).judge(cell.test)
    return float(alert[cell.test_truth].mean()), float(alert[~cell.test_truth].mean())


def live(cell: Verdicts, rng: np.random.Generator, liar: bool = False) -> list[Found]:
    """After so many labels on live rows as there are REVIEWS, and the ideal."""
    half = rng.random(len(cell.test)) < 0.5
    drawn = rng.choice(np.flatnonzero(half), TRAFFIC)
    odds = np.log(np.clip(cell.test[drawn], 1e-7, 1 - 1e-7) / (1 - np.clip(cell.test[drawn], 1e-7, 1 - 1e-7)))
    scores = (1 / (1 + np.exp(-odds - rng.normal(0, BLUR, TRAFFIC)))).astype(np.float32)
    truth = cell.test_truth[drawn]
    reference = np.sort(cell.reference[~cell.reference_truth] if liar else cell.reference)
    budget = usable_budget(DEFAULT_BUDGET, len(reference))
    tail = np.cumsum(score_bins.count(scores)[::-1])[::-1].astype(float)
    lowest = lowest_anomaly(reference, budget)
    judged = np.zeros(TRAFFIC, bool)
    events: list[JudgedEvent] = []
    found = []
    for wanted in REVIEWS:
        while len(events) < wanted:
            rows = rng.permutation(np.flatnonzero((scores >= np.float32(lowest)) & ~judged))[:AT_ONCE]
            if len(events) % 20 == 0:
                rows = np.append(rows[1:], rng.integers(TRAFFIC))
            if not len(rows):
                break  # every alert is judged
            judged[rows] = True
            for row in rows.tolist():
                alerted = bool(scores[row] >= np.float32(lowest))
                anomaly = alerted if liar else bool(truth[row])
                events.append(JudgedEvent(float(scores[row]), anomaly, 1.0, alerted))
            if alerts := live_labels.usable(events):
                lowest = live_labels.lowest_threshold(reference, alerts, tail, budget)
        found.append(measured(cell.test[~half], cell.test_truth[~half], lowest))
    return [*found, ideal(cell.test[~half], cell.test_truth[~half])]


def ideal(scores: np.ndarray, truth: np.ndarray) -> Found:
    lowest = np.nextafter(np.quantile(scores[~truth], 1 - DEFAULT_BUDGET), np.float32(2.0))
    return measured(scores, truth, float(lowest))


def table(what: str, rows: Sequence[Sequence[Found]]) -> str:
    figures = np.array(rows)
    means, most = figures.mean(axis=0), figures[:, :, 1].max(axis=0)
    lines = [
        f"mean of {len(rows)} data sets and seeds\n",
        f"| {what} | recall | of the ideal | false alerts (most) |\n|---|---|---|---|",
    ]
    for name, (recall, alerts), worst in zip((*map(str, REVIEWS), "ideal"), means, most, strict=True):
        lines.append(f"| {name} | {recall:.3f} | {recall / means[-1, 0]:.2f} | {alerts:.2%} ({worst:.1%}) |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--out", type=Path, default=Path("var/verdicts"))
    options = parser.parse_args()
    if bench_data("bench") is None:
        return
    every = [cell for _, _, cell in cells(options.out, [int(seed) for seed in options.seeds.split(",")])]
    reviews = [[*(reviewed(cell, n) for n in REVIEWS), ideal(cell.test, cell.test_truth)] for cell in every]
    print(table("verdicts on the reference", reviews))
    for name, liar in (("labels on live alerts", False), ("a liar's labels on live alerts", True)):
        rng = np.random.default_rng(0)
        print(f"\n{table(name, [live(cell, rng, liar) for cell in every])}", flush=True)


if __name__ == "__main__":
    main()

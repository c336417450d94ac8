"""What verdicts on a new model's reference are worth: recall and false alerts at the default budget.

    python -m tests.benchmarks.bench_review --seeds 0,1,2

The highest rows of the reference are judged truthfully, one after the other; confirmed anomalies leave.
`ideal`
is what alerting on exactly 1% of the true normals of the test rows finds. Needs BENCH_DATA.
"""

import argparse
from pathlib import Path

import numpy as np

from nearnorm.models.conformal import DEFAULT_BUDGET, Policy, Ranks, usable_budget
from tests.benchmarks.bench_data import bench_data
from tests.benchmarks.verdict_cells import Verdicts, cells

REVIEWS = (0, 20, 50, 100, 200)


def found(cell: Verdicts, reviews: int) -> tuple[float, float]:
    """Recall and false alerts after so many verdicts."""
    top = np.argsort(-cell.reference, kind="stable")[:reviews]
    kept = np.sort(np.delete(cell.reference, top[cell.reference_truth[top]]))
    _, alert = Ranks(kept, Policy(usable_budget(DEFAULT_BUDGET, len(kept)))).judge(cell.test)
    return float(alert[cell.test_truth].mean()), float(alert[~cell.test_truth].mean())


def ideal(cell: Verdicts) -> tuple[float, float]:
    alert = cell.test > np.quantile(cell.test[~cell.test_truth], 1 - DEFAULT_BUDGET)
    return float(alert[cell.test_truth].mean()), float(alert[~cell.test_truth].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--out", type=Path, default=Path("var/verdicts"))
    options = parser.parse_args()
    if bench_data("bench") is None:
        return
    rows = [
        [*(found(cell, reviews) for reviews in REVIEWS), ideal(cell)]
        for _, _, cell in cells(options.out, [int(seed) for seed in options.seeds.split(",")])
    ]
    means = np.mean(rows, axis=0)
    print(f"mean of {len(rows)} data sets and seeds\n\n| verdicts | recall | of the ideal | false alerts |")
    print("|---|---|---|---|")
    for name, (recall, alerts) in zip((*map(str, REVIEWS), "ideal"), means, strict=True):
        print(f"| {name} | {recall:.3f} | {recall / means[-1, 0]:.2f} | {alerts:.2%} |")


if __name__ == "__main__":
    main()

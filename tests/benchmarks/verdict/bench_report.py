"""Whether what a report tells from ten labels is true: its figures beside those of test rows.

    python -m tests.benchmarks.verdict.bench_report --seeds 0

`half within`: half of the anomalies are among so many of the strangest records; `found`: so many of them
alert at the default budget, before any review. The truth is that of the test rows by the serving model.
Sets that the rules were chosen on are told apart from those that they were tried on once. Needs BENCH_DATA.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from nearnorm.models.conformal import ranks
from nearnorm.training.dataset.load import REFERENCE_FLOOR, REFERENCE_SHARE
from nearnorm.training.evaluation.held_out import measure
from tests.benchmarks.sets.bench_data import bench_data
from tests.benchmarks.sets.protocol import data_sets
from tests.benchmarks.verdict.verdict_cells import Verdicts, cells

FIGURES = {"half within": "median_rarity", "found": "recall_at_budget"}


def truth(cell: Verdicts) -> dict[str, float]:
    anomalies = cell.test[cell.test_truth]
    within = float(np.median(1.0 - ranks(anomalies, cell.test)))
    found = measure(ranks(anomalies, cell.reference), len(cell.reference))["recall_at_budget"]
    return {"half within": within, "found": np.nan if found is None else found}


def held_out_share(rows: int) -> float:
    """The share of the unlabelled rows that a split holds out, from how many those are."""
    return REFERENCE_SHARE if rows > REFERENCE_FLOOR else 0.5


def line(name: str, figure: str, group: Sequence[Verdicts]) -> str:
    metric = FIGURES[figure]
    told = [measure(cell.crossed, rows := len(cell.reference), held_out_share(rows)) for cell in group]
    true = np.array([truth(cell)[figure] for cell in group])
    shown, low, high = (
        np.array([np.nan if (value := t[metric + end]) is None else value for t in told], float)
        for end in ("", "_low", "_high")
    )
    there = ~np.isnan(shown)
    within = ((true >= low) & (true <= high))[there]
    correlation = spearmanr(shown[there], true[there]).statistic
    return (
        f"| {name} | {figure} | {there.mean():.0%} | {correlation:.2f} | {within.mean():.2f} "
        f"| {np.median(shown[there]):.3f} ({np.median(true[there]):.3f}) |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--out", type=Path, default=Path("var/verdicts"))
    options = parser.parse_args()
    if bench_data("bench") is None:
        return
    chosen_on = set(data_sets("data"))
    measured = list(cells(options.out, [int(seed) for seed in options.seeds.split(",")]))
    groups = {
        "chosen on": [cell for name, _, cell in measured if name in chosen_on],
        "tried once": [cell for name, _, cell in measured if name not in chosen_on],
        "all": [cell for *_, cell in measured],
    }
    print("| sets | figure | shown on | rank correlation | truth within | median shown (true) |")
    print("|---|---|---|---|---|---|")
    for name, group in groups.items():
        for figure in FIGURES:
            print(line(f"{name} ({len(group)})", figure, group))


if __name__ == "__main__":
    main()

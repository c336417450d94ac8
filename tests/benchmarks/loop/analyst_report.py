"""What analysts found, set by set: a table, and a plot of the mean."""

import re
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

OURS, NOTHING = "ours", "no learning"
FOUND = (OURS, "PU CatBoost", "PU ExtraTrees", NOTHING, "isolation forest")


def report(rows: list[dict[str, Any]], plot: Path | None) -> str:
    """A table in Markdown: anomalies found after the last round, and on the mean the share of them."""
    who = [name for name in FOUND if all(name in row for row in rows)]
    shares = {name: np.array([np.array(row[name]) / row["anomalies"] for row in rows]) for name in who}
    lines = [
        f"| set | anomalies | {' | '.join(who)} | jobs refused |",
        f"|---|---|{'---|' * len(who)}---|",
    ]
    for row in rows:
        best = max(row[name][-1] for name in who)
        cells = [f"**{row[name][-1]}**" if row[name][-1] == best else str(row[name][-1]) for name in who]
        refused = row["jobs"].count("refused")
        name = re.sub(r"^.*/(data:|\d+_)?", "", row["set"])
        lines.append(f"| {name} | {row['anomalies']} | {' | '.join(cells)} | {refused} |")
    half = len(rows[0][OURS]) // 2
    means = {
        f"share after {half}": [shares[name][:, half - 1].mean() for name in who],
        f"share after {2 * half}": [shares[name][:, 2 * half - 1].mean() for name in who],
        "mean of rounds": [shares[name].mean() for name in who],
    }
    for title, found in means.items():
        lines.append(f"| {title} | | {' | '.join(f'{share:.3f}' for share in found)} | |")
    if plot is not None:
        drawn(shares).savefig(plot, dpi=110)
    return "\n".join(lines)


def drawn(shares: dict[str, np.ndarray]) -> Figure:
    """The mean share found after each round, and its standard error over the sets."""
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for name, share in shares.items():
        rounds = np.arange(1, share.shape[1] + 1)
        mean, error = share.mean(0), share.std(0) / max(len(share) - 1, 1) ** 0.5
        (line,) = axes.plot(
            rounds, mean, marker="o", markersize=3, linewidth=2 if name == OURS else 1.2, label=name
        )
        if name == OURS:
            axes.fill_between(rounds, mean - error, mean + error, color=line.get_color(), alpha=0.15)
    axes.set(
        xlabel="round of 20 reviews",
        ylabel="share of the anomalies found",
        title=f"A simulated analyst, mean of {len(next(iter(shares.values())))} sets",
        ylim=(0, 1),
    )
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure

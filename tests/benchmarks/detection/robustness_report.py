"""The tables and pictures of bench_robustness."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from scipy.stats import betabinom

from tests.benchmarks.sets.protocol import FAMILIES, by_family, family_of

SHUFFLED = {
    "as served": "",
    "q* shuffled": "q",
    "embedding and q*": "zq",
    "r and q*": "rq",
    "all three": "zrq",
}
"""Which parts of the evidence are exchanged between rows: the embedding z, r, q*."""
NOISE = ("ten anomalies", "nine and a normal row")
BAND = 0.999
HIDDEN = (0.03, 0.1, 0.25, 1.0)
COLOURS = dict(zip(FAMILIES, ("#2060a8", "#d98c2b", "#4a934a"), strict=True))


@dataclass(frozen=True)
class Figure:
    """A number, and what it is of. Average precision, or a share of rows."""

    part: str
    preset: str
    seed: int
    dataset: str
    what: str
    value: float


def _varied(figures: list[Figure]) -> dict[str, dict[str, float]]:
    """What was varied -> data set -> value."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for figure in figures:
        found[figure.what][figure.dataset] = figure.value
    return found


def curves(figures: list[Figure]) -> str:
    """Mean average precision by what was varied, of all sets and of each family."""
    means = {what: by_family(found) for what, found in _varied(figures).items()}
    sets = len({figure.dataset for figure in figures})
    lines = [f"| {sets} sets | {' | '.join(means)} |", "|---|" + "---|" * len(means)]
    for family in next(iter(means.values())):
        lines.append(f"| {family} | " + " | ".join(f"{mean[family]:.3f}" for mean in means.values()) + " |")
    return "\n".join(lines)


def band(reference: float, normal: float) -> tuple[float, float]:
    """The share of `normal` rows that alert, within 99.9%, where `reference` rows set a threshold for 1%."""
    alerts = int(0.01 * (reference + 1) + 1e-9)
    if alerts == 0:
        return 0.0, 0.0
    # of n + 1 equally likely places for a new row, `alerts` are above the threshold
    count = betabinom(normal, alerts, reference + 1 - alerts)
    return count.ppf((1 - BAND) / 2) / normal, count.ppf((1 + BAND) / 2) / normal


def calibration(figures: list[Figure]) -> str:
    of = _varied(figures)
    inside = [
        low <= of["clean: alerts"][name] <= high
        for name in of["reference"]
        for low, high in [band(of["reference"][name], of["normal"][name])]
    ]
    lines = [
        f"{sum(inside)} of {len(inside)} sets within the band of {BAND:.1%} on clean reference rows",
        "",
        "| hidden anomalies | sets | normal rows that alert | anomalies found |",
        "|---|---|---|---|",
    ]
    least = -1.0
    for most in (*HIDDEN, None):
        names = [n for n, share in of["hidden"].items() if most is None or least < share <= most]
        cells = [
            f"{np.mean([of[f'clean: {what}'][n] for n in names]):{form}} "
            f"({np.mean([of[f'contaminated: {what}'][n] for n in names]):{form}})"
            for what, form in (("alerts", ".2%"), ("found", ".0%"))
        ]
        title = "all" if most is None else f"above {max(least, 0.0):.0%}, up to {most:.0%}"
        lines.append(f"| {title} | {len(names)} | {' | '.join(cells)} |")
        least = most or least
    return "\n".join(lines)


def unseen(figures: list[Figure]) -> str:
    of = _varied(figures)
    columns = ("trained", "its distance", "cold start")
    lines = [
        "| | pairs | trained on another class | its distance alone | cold start "
        "| at least as good: score, distance |",
        "|---|---|---|---|---|---|",
    ]
    for family in FAMILIES[1:]:
        pairs = [
            [of[what.replace("trained", column)][source] for column in columns]
            for what, found in of.items()
            if what.endswith(": trained") and family_of(what) == family
            for source in found
        ]
        if not pairs:
            continue
        trained, distance, cold = np.array(pairs).T
        lines.append(
            f"| {family} | {len(pairs)} | {trained.mean():.3f} | {distance.mean():.3f} | {cold.mean():.3f} "
            f"| {(trained >= cold).mean():.0%}, {(distance >= cold).mean():.0%} |"
        )
    return "\n".join(lines)


TABLES: dict[str, Callable[[list[Figure]], str]] = {
    "shuffled": curves,
    "calibration": calibration,
    "unseen": unseen,
    "cold": curves,
    "contamination": curves,
    "noise": curves,
}


def draw(figures: dict[str, list[Figure]], folder: Path) -> None:
    """Write the pictures of the parts that are there."""
    if "shuffled" in figures:
        _shuffled(figures["shuffled"], folder / "detection-shuffled.png")
    if "calibration" in figures:
        _calibration(figures["calibration"], folder / "detection-calibration.png")
    if "contamination" in figures and "noise" in figures:
        _robust(figures["contamination"], figures["noise"], folder / "detection-robust.png")


def _shuffled(figures: list[Figure], path: Path) -> None:
    found = _varied(figures)
    figure, axes = plt.subplots(figsize=(6, 2.6), layout="constrained")
    bars = axes.barh(list(found), [float(np.mean(list(v.values()))) for v in found.values()], color="#2060a8")
    axes.bar_label(bars, fmt="%.3f", padding=2, fontsize=8)
    axes.invert_yaxis()
    sets = len(found["as served"])
    axes.set(xlim=(0, 0.85), xlabel=f"mean average precision, {sets} sets, seed {figures[0].seed}")
    figure.savefig(path, dpi=110)


def _calibration(figures: list[Figure], path: Path) -> None:
    of = _varied(figures)
    names = sorted(of["hidden"], key=lambda name: of["hidden"][name])
    places = np.arange(len(names))
    bands = 100 * np.array([band(of["reference"][name], of["normal"][name]) for name in names])
    figure, axes = plt.subplots(figsize=(7.5, 6), layout="constrained")
    axes.barh(
        places,
        bands[:, 1] - bands[:, 0],
        left=bands[:, 0],
        height=0.5,
        color="#cccccc",
        label=f"{BAND:.1%} band, clean reference",
    )
    for what, colour in (("clean", "#2060a8"), ("contaminated", "#d98c2b")):
        alerts = [100 * of[f"{what}: alerts"][name] for name in names]
        axes.plot(alerts, places, "o", color=colour, label=f"{what} reference")
    axes.axvline(1.0, color="#888888", linewidth=0.8)
    axes.set_yticks(places, [f"{name} ({of['hidden'][name]:.0%})" for name in names], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("normal test rows that alert, % (budget 1%); in brackets: hidden anomalies", fontsize=8)
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=110)


def _robust(contamination: list[Figure], noise: list[Figure], path: Path) -> None:
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9, 3.4), sharey=True, width_ratios=(3, 2), layout="constrained"
    )
    shares = [float(what.rstrip("%")) for what in _varied(contamination)]
    _curves(left, contamination, shares)
    left.set(xlabel="hidden anomalies among the unlabelled rows, %", ylabel="average precision", ylim=(0, 1))
    left.legend(fontsize=7, loc="lower left")
    _curves(right, noise, [0.0, 1.0])
    right.set_xticks([0, 1])
    right.set_xlabel(f"labelled anomalies of ten that are none, {len({f.dataset for f in noise})} sets")
    figure.savefig(path, dpi=110)


def _curves(axes: Axes, figures: list[Figure], places: list[float]) -> None:
    """A thin line for each set, thick ones for the families' means and a black one for all."""
    varied = _varied(figures)
    names = sorted({figure.dataset for figure in figures})
    for name in names:
        values = [found[name] for found in varied.values()]
        axes.plot(places, values, color=COLOURS[family_of(name)], linewidth=0.6, alpha=0.5)
    means = [by_family(found) for found in varied.values()]
    for family, colour in COLOURS.items():
        axes.plot(places, [mean[family] for mean in means], color=colour, linewidth=2, label=family)
    everything = [mean["all"] for mean in means]
    axes.plot(places, everything, "o-", color="black", linewidth=2, label=f"mean of {len(names)} sets")

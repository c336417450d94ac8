"""Whom does the gate let through? Truthful and poisoned labels on real sets, whose truth it does not know.

For every set, seed and way of labelling: whether the challenger would serve, beside its true difference in
average precision on rows that nobody used. Then the rule alone, on drawn ranks: how often a model that is as
good is refused, and one that is worse accepted.
"""

import argparse
from collections.abc import Iterator, Sequence
from math import exp, log, log1p
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from nearnorm.models.conformal import ranks
from nearnorm.training.dataset.labels import ANOMALY
from nearnorm.training.loop.gate import (
    FEWEST_NORMALS,
    MARGIN,
    Confirmed,
    GateEvidence,
    Ranked,
    RecentTraffic,
    decide,
    depths,
)
from nearnorm.training.loop.suspect import DEEPER_SHOWN, SHOWN, times_as_deep
from tests.benchmarks.loop.gate_cells import LABELLINGS, SETS, TRUSTED, Cell, cells
from tests.benchmarks.sets.bench_data import bench_data

BUDGET = 0.01
BOUNDS = ((-1.0, -0.1), (-0.1, -0.05), (-0.05, -0.02), (-0.02, 0.02), (0.02, 1.0))
PREVALENCE, REFERENCE, ANOMALIES, DRAWN = 0.05, 2_000, 30, 1_000


def accepted(champion: np.ndarray, challenger: np.ndarray, *, only_normals: bool = False) -> bool:
    """The gate's word on held-out ranks [A] of trusted anomalies."""
    rows = len(champion)
    ranked = Ranked(np.ones(rows, int), np.ones(rows), np.arange(rows), champion, challenger)
    confirmed = tuple(Confirmed(str(i), True, float(champion[i]), float(challenger[i])) for i in range(rows))
    nothing = RecentTraffic(0, 0, 0)
    return decide(GateEvidence(ranked, confirmed, nothing, BUDGET, only_normals=only_normals)).accepted


def serves(cell: Cell) -> bool:
    """Whether a cell's challenger would serve; not where what one key alone said is left out: then nothing
    new was learnt. In a mix others label too, and what they bear out is not asked here."""
    said, labels = cell.said_rank, cell.said_label
    if cell.how != "mix" and len(labels) and (labels == ANOMALY).all():
        shown = (said[said >= SHOWN], cell.champion[cell.champion >= SHOWN])
        if times_as_deep(*shown, DEEPER_SHOWN) is not None:
            return False
    only_normals = len(labels) >= FEWEST_NORMALS and not (labels == ANOMALY).any()
    return accepted(cell.champion, cell.challenger, only_normals=only_normals)


def table(found: Sequence[tuple[Cell, bool]]) -> str:
    """Accepted of all, by how labels were made and by the true difference."""
    heads = [f"{low:+.2f} to {high:+.2f}" for low, high in BOUNDS]
    heads[0], heads[-1] = f"below {BOUNDS[0][1]:+.2f}", f"from {BOUNDS[-1][0]:+.2f}"
    lines = [f"| labels | {' | '.join(heads)} | waiting |", "|---|" + "---|" * (len(BOUNDS) + 1)]
    for how in LABELLINGS:
        these = [(cell, word) for cell, word in found if cell.how == how]
        counts = []
        for low, high in BOUNDS:
            words = [word for cell, word in these if low <= cell.difference < high]
            counts.append(f"{sum(words)} of {len(words)}")
        waiting = np.mean([cell.waiting for cell, _ in these])
        lines.append(f"| {how} | {' | '.join(counts)} | {waiting:.1f} |")
    return "\n".join(lines)


def plot(found: Sequence[tuple[Cell, bool]], out: Path) -> None:
    """The share that is accepted against the true difference."""
    figure, axes = plt.subplots(figsize=(6, 3.5))
    edges = np.array([-0.6, -0.3, -0.2, -0.1, -0.05, -0.02, 0.02, 0.05, 0.1, 0.6])
    for count, colour in ((TRUSTED, "#2060a8"), (10, "#d98c2b")):
        these = [(cell.difference, word) for cell, word in found if cell.labels == count]
        if not these:
            continue
        difference, word = (np.array(values) for values in zip(*these, strict=True))
        place = np.digitize(difference, edges)
        bins = [b for b in range(1, len(edges)) if (place == b).any()]
        axes.plot(
            [difference[place == b].mean() for b in bins],
            [word[place == b].mean() for b in bins],
            "o-",
            color=colour,
            label=f"{count} labels",
        )
    axes.set(xlabel="true difference in average precision", ylabel="share accepted", ylim=(0, 1))
    axes.legend()
    figure.tight_layout()
    figure.savefig(out, dpi=110)
    plt.close(figure)


def _precision(shift: float) -> float:
    """Average precision where anomalies lie `shift` standard deviations above the others."""
    at = np.linspace(-6, 12, 4_000)[::-1]
    recall, false = norm.sf(at - shift), norm.sf(at)
    precision = PREVALENCE * recall / (PREVALENCE * recall + (1 - PREVALENCE) * false)
    return float(np.trapezoid(precision, recall))


def _shift(precision: float) -> float:
    return float(brentq(lambda shift: _precision(shift) - precision, 0.1, 8))


def drawn(
    correlation: float, before: float, after: float, anomalies: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Ranks of `anomalies` by two models with these average precisions whose ranks correlate so."""
    rng = np.random.default_rng(0)
    shifts = [_shift(before), _shift(after)]
    for _ in range(DRAWN):
        hidden = rng.random(REFERENCE) < PREVALENCE
        base, own = rng.normal(size=(2, REFERENCE + anomalies))
        sides = (base, correlation * base + np.sqrt(1 - correlation**2) * own)
        one, other = (
            ranks(side[REFERENCE:] + shift, side[:REFERENCE] + hidden * shift)
            for side, shift in zip(sides, shifts, strict=True)
        )
        yield one, other


def simulate(correlation: float, before: float, after: float) -> float:
    """How often the rule accepts with ANOMALIES trusted."""
    return float(np.mean([accepted(*pair) for pair in drawn(correlation, before, after, ANOMALIES)]))


def margins(correlation: float, anomalies: int) -> str:
    """What depth alone can do: the two errors at the margin in force, and at the one that refuses a tenth of
    the models that are as good."""
    weight = np.ones(anomalies)
    same, worse = (
        np.array(
            [
                log(depths(two, weight) / depths(one, weight))
                for one, two in drawn(correlation, 0.52, after, anomalies)
            ]
        )
        for after in (0.52, 0.44)
    )
    cells = []
    for margin in (log1p(MARGIN), float(np.quantile(same, 0.9))):
        refused, passed = float((same > margin).mean()), float((worse <= margin).mean())
        cells.append(f"{exp(margin) - 1:.0%} | {refused:.0%} | {passed:.0%}")
    return f"| {correlation} | {anomalies} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sets", nargs="*", default=SETS)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--labels", type=int, nargs="*", default=[TRUSTED, 10])
    parser.add_argument("--kept", type=Path, default=Path("var/bench_gate"), help="where fits are kept")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    print("| rank correlation | as good, refused | 0.52 to 0.44, accepted |\n|---|---|---|")
    for correlation in (0.8, 0.9, 0.95):
        same, worse = simulate(correlation, 0.52, 0.52), simulate(correlation, 0.52, 0.44)
        print(f"| {correlation} | {1 - same:.0%} | {worse:.0%} |")
    heads = "margin | as good, refused | 0.52 to 0.44, accepted"
    print(f"\n| rank correlation | trusted | {heads} | {heads} |\n|---|---|{'---|' * 6}")
    for correlation in (0.8, 0.9, 0.95):
        for anomalies in (30, 60, 100, 200):
            print(margins(correlation, anomalies))
    data = bench_data("data")
    if data is None:
        return
    options.kept.mkdir(parents=True, exist_ok=True)
    found: list[tuple[Cell, bool]] = []
    for count in options.labels:
        for seed in options.seeds:
            for name in options.sets:
                for cell in cells(data.parent, options.kept, name, seed, count):
                    found.append((cell, serves(cell)))
        these = [pair for pair in found if pair[0].labels == count]
        print(f"\n{count} labels, {len(options.sets)} sets, seeds {options.seeds}\n\n{table(these)}")
    if options.plot:
        plot(found, options.plot)


if __name__ == "__main__":
    main()

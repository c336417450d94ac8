"""The tables and the picture of bench_quality."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from tests.benchmarks.sets.left_out import in_families
from tests.benchmarks.sets.protocol import FAMILIES, by_family, family_of

HALF_80 = 1.2816
"""Standard errors on either side of an 80% interval."""
OURS = "nearnorm "
"""Before a preset: the name of a method of ours."""
HEADER = (
    f"{'method':<34}{'mean AP':>9}"
    + "".join(f"{family:>11}" for family in FAMILIES)
    + (f"{'mean rank':>11}{'spread':>9}{'fit s':>8}")
)


@dataclass(frozen=True)
class Cell:
    """One fit: a data set, a seed, a number of labelled anomalies, a method, and what came of it."""

    dataset: str
    seed: int
    labels: int
    method: str
    average_precision: float
    fit_seconds: float


Method = Mapping[tuple[str, int], Cell]
"""By data set and seed."""


def whole_methods(cells: list[Cell]) -> dict[str, Method]:
    """The methods that have all of the sets and seeds."""
    by_method: dict[str, dict[tuple[str, int], Cell]] = defaultdict(dict)
    for cell in cells:
        by_method[cell.method][cell.dataset, cell.seed] = cell
    most = max((len(found) for found in by_method.values()), default=0)
    return {method: found for method, found in by_method.items() if len(found) == most}


def over_seeds(method: Method) -> dict[str, float]:
    """Mean average precision by data set."""
    names = sorted({name for name, _ in method})
    return {
        name: float(np.mean([c.average_precision for c in method.values() if c.dataset == name]))
        for name in names
    }


def table(cells: list[Cell]) -> str:
    """Means over the sets and seeds; ranks of means over the seeds; the spread of means over the sets."""
    methods = whole_methods(cells)
    means = {method: over_seeds(found) for method, found in methods.items()}
    names = next(iter(means.values()))
    seeds = sorted({cell.seed for cell in cells})
    lines = [HEADER]
    for method in sorted(means, key=lambda method: -by_family(means[method])["all"]):
        mine, found = means[method], methods[method].values()
        ranks = [1 + sum(other[name] > mine[name] for other in means.values()) for name in names]
        inside = by_family(mine)
        by_seed = [np.mean([c.average_precision for c in found if c.seed == seed]) for seed in seeds]
        seconds = np.mean([c.fit_seconds for c in found])
        lines.append(
            f"{method:<34}{inside['all']:>9.3f}"
            + "".join(f"{inside[f]:>11.3f}" if f in inside else f"{'-':>11}" for f in FAMILIES)
            + f"{np.mean(ranks):>11.2f}{np.std(by_seed):>9.3f}{seconds:>8.2f}"
        )
    if best := _best_peers(means):
        lines.append(f"{'best peer of each set, in hindsight':<34}{by_family(best)['all']:>8.3f}")
    return "\n".join(lines)


def lead(cells: list[Cell], preset: str) -> str:
    """A preset's lead over the best single peer, by set, and the best preset as other families would choose
    it: what of its lead is tuning."""
    means = {method: over_seeds(found) for method, found in whole_methods(cells).items()}
    peers = {method: found for method, found in means.items() if not method.startswith(OURS)}
    ours = {method: found for method, found in means.items() if method.startswith(OURS)}
    if OURS + preset not in ours:
        return ""
    lines = []
    if peers:
        best = max(peers, key=lambda peer: np.mean(list(peers[peer].values())))
        leads = np.array([ap - peers[best][name] for name, ap in ours[OURS + preset].items()])
        error = leads.std() / max(len(leads) - 1, 1) ** 0.5
        low, high = leads.mean() - HALF_80 * error, leads.mean() + HALF_80 * error
        lines.append(
            f"{preset} leads {best}, the best single peer, by {leads.mean():+.3f} "
            f"(80% between {low:+.3f} and {high:+.3f}, {len(leads)} sets)"
        )
        if behind := _behind(cells, OURS + preset, best):
            lines.append(f"more than 20% and two standard errors behind it: {', '.join(behind)}")
    if len(ours) > 1:
        chosen = np.mean(list(_chosen_elsewhere(ours).values()))
        whole = max(np.mean(list(found.values())) for found in ours.values())
        lines.append(
            f"the best preset {whole:.3f}; chosen for each family by the others {chosen:.3f}: "
            f"{whole - chosen:.3f} of it is choice"
        )
    return "\n".join(lines)


def _behind(cells: list[Cell], ours: str, peer: str) -> list[str]:
    """Sets on which ours is a fifth lower than the peer, and by more than seeds explain."""
    methods = whole_methods(cells)
    found = []
    for name in over_seeds(methods[ours]):
        seeds = [seed for of, seed in methods[ours] if of == name]
        mine, its = (
            np.array([methods[one][name, seed].average_precision for seed in seeds]) for one in (ours, peer)
        )
        error = np.std(mine - its, ddof=1) / len(seeds) ** 0.5 if len(seeds) > 1 else np.inf
        if mine.mean() < 0.8 * its.mean() and its.mean() - mine.mean() > 2.0 * error:
            found.append(f"{name} ({mine.mean():.3f}, {its.mean():.3f})")
    return found


def _chosen_elsewhere(ours: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """By set: the average precision of the preset that is best on the sets of all other families."""
    names = next(iter(ours.values()))
    found = {}
    for inside in in_families(names).values():
        others = [name for name in names if name not in inside] or inside
        best = max(ours.values(), key=lambda preset: np.mean([preset[name] for name in others]))
        found.update({name: best[name] for name in inside})
    return found


def differences(cells: list[Cell], first: str) -> str:
    """What each other preset changes, beside `first`: paired over sets and seeds, with standard errors."""
    methods = whole_methods([cell for cell in cells if cell.method.startswith(OURS)])
    if len(methods) < 2 or OURS + first not in methods:
        return ""
    base = methods[OURS + first]
    lines = [f"| changed | difference | {' | '.join(FAMILIES)} |", "|---|---|" + "---|" * len(FAMILIES)]
    for method, found in methods.items():
        if found is base:
            continue
        changes = {
            key: found[key].average_precision - base[key].average_precision for key in sorted(base.keys())
        }
        parts = [list(changes.values())]
        parts += [[c for (name, _), c in changes.items() if family_of(name) == f] for f in FAMILIES]
        told = [
            f"{np.mean(p):+.3f} ± {np.std(p) / max(len(p) - 1, 1) ** 0.5:.3f}" if p else "-" for p in parts
        ]
        lines.append(f"| {method.removeprefix(OURS)} | " + " | ".join(told) + " |")
    return "\n".join(lines)


def draw(cells: list[Cell], preset: str, path: Path) -> None:
    """Every set: a preset against the set's best peer."""
    means = {method: over_seeds(found) for method, found in whole_methods(cells).items()}
    ours, best = means[OURS + preset], _best_peers(means)
    names = sorted(ours, key=lambda name: ours[name] - best[name])
    places = np.arange(len(names))
    figure, axes = plt.subplots(figsize=(7.5, 7), layout="constrained")
    axes.hlines(places, [best[n] for n in names], [ours[n] for n in names], color="#bbbbbb")
    axes.plot([best[n] for n in names], places, "o", color="#d98c2b", label="best peer of the set")
    axes.plot([ours[n] for n in names], places, "o", color="#2060a8", label=preset)
    axes.set_yticks(places, names, fontsize=7)
    seeds, labels = len({cell.seed for cell in cells}), cells[0].labels
    axes.set_xlabel(f"average precision, {labels} labels, mean of {seeds} seeds")
    axes.legend()
    figure.savefig(path, dpi=110)


def _best_peers(means: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    peers = [found for method, found in means.items() if not method.startswith(OURS)]
    return {name: max(peer[name] for peer in peers) for name in peers[0]} if peers else {}

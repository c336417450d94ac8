"""What the runs of bench_paper come to: tables and pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import matplotlib.pyplot as plt
import numpy as np

from nearnorm.training.fitting.joint import SMOOTHED

WHOLE = "as published"
VALIDATED = "validation"


@dataclass(frozen=True)
class Epoch:
    """The held-out loss that an epoch was judged by, and average precision on validation and test rows."""

    held_out: float
    validation: float
    test: float


@dataclass(frozen=True)
class Run:
    """One joint stage: average precision on the test part, the epoch that was kept, and its course."""

    dataset: str
    seed: int
    mode: str
    variant: str
    average_precision: float
    kept: int
    epochs: list[Epoch]

    @classmethod
    def read(cls, row: dict[str, Any]) -> Self:
        return cls(**{**row, "epochs": [Epoch(**epoch) for epoch in row["epochs"]]})


def modes(runs: list[Run], recorded: Mapping[str, float]) -> str:
    """With and without validation, by set, beside what is recorded of the authors' code."""
    names = list(dict.fromkeys(run.dataset for run in runs))
    lines = [f"| | {' | '.join(names)} | mean | by seed |", "|---|" + "---|" * (len(names) + 2)]
    authors = [recorded[name] for name in names]
    cells = " | ".join(f"{figure:.3f}" for figure in authors)
    lines.append(f"| the authors' code, recorded | {cells} | {np.mean(authors):.3f} | |")
    for mode in dict.fromkeys(run.mode for run in runs):
        found = [run for run in runs if (run.mode, run.variant) == (mode, WHOLE)]
        means = " | ".join(f"{_mean(run for run in found if run.dataset == name):.3f}" for name in names)
        seeds = [[r for r in found if r.seed == seed] for seed in sorted({r.seed for r in found})]
        by_seed = " ".join(f"{_mean(part):.3f}" for part in seeds)
        lines.append(f"| {mode} | {means} | {_mean(found):.3f} | {by_seed} |")
        kept = [" ".join(str(run.kept) for run in found if run.dataset == name) for name in names]
        lines.append(f"| ... epochs kept | {' | '.join(kept)} | | |")
    return "\n".join(lines)


def changes(runs: list[Run], mode: str) -> dict[str, dict[str, list[float]]]:
    """By variant and set: what it changes of average precision, seed by seed."""
    whole = {(r.dataset, r.seed): r.average_precision for r in runs if (r.mode, r.variant) == (mode, WHOLE)}
    found: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        if run.mode == mode and run.variant != WHOLE:
            difference = run.average_precision - whole[run.dataset, run.seed]
            found.setdefault(run.variant, {}).setdefault(run.dataset, []).append(difference)
    return found


def claims(runs: list[Run]) -> str:
    """What each claim taken out changes, paired over sets and seeds, with standard errors."""
    names = list(dict.fromkeys(run.dataset for run in runs))
    lines = [f"| mode, changed | all | {' | '.join(names)} |", "|---|---|" + "---|" * len(names)]
    for mode in dict.fromkeys(run.mode for run in runs):
        for variant, by_set in changes(runs, mode).items():
            parts = [[c for name in names for c in by_set[name]], *(by_set[name] for name in names)]
            lines.append(f"| {mode}, {variant} | " + " | ".join(map(_with_error, parts)) + " |")
    return "\n".join(lines)


def _with_error(found: list[float]) -> str:
    mean = f"{np.mean(found):+.3f}"
    return mean if len(found) == 1 else f"{mean} ± {np.std(found) / (len(found) - 1) ** 0.5:.3f}"


def _mean(runs: Any) -> float:
    return float(np.mean([run.average_precision for run in runs]))


def draw_epochs(runs: list[Run], path: Path) -> None:
    """The joint stage when nothing stops it: test precision by epoch, with what each rule would keep."""
    runs = [run for run in runs if run.mode == VALIDATED]
    names = list(dict.fromkeys(run.dataset for run in runs))
    figure, axes = plt.subplots(2, 2, figsize=(8, 5.5), layout="constrained", sharex=True)
    for axis, name in zip(axes.flat, names, strict=True):
        for run in (run for run in runs if run.dataset == name):
            test = [epoch.test for epoch in run.epochs]
            axis.plot(range(1, len(test) + 1), test, color="#8aa4c8", linewidth=0.9)
            best = int(np.argmax([epoch.validation for epoch in run.epochs]))
            axis.plot(best + 1, test[best], "o", color="#2060a8", label="best validation")
            loss = [epoch.held_out for epoch in run.epochs]
            smooth = [np.mean(loss[max(0, i + 1 - SMOOTHED) : i + 1]) for i in range(len(loss))]
            least = int(np.argmin(smooth))
            axis.plot(least + 1, test[least], "s", color="#d98c2b", label="least held-out loss, smoothed")
        axis.set_title(name, fontsize=9)
        axis.set_ylim(0, 1)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    shown = dict(zip(labels, handles, strict=True))
    figure.legend(shown.values(), shown.keys(), loc="outside upper center", ncols=2, fontsize=8)
    figure.supxlabel("epoch of the joint stage", fontsize=9)
    figure.supylabel("average precision, test part", fontsize=9)
    figure.savefig(path, dpi=110)


def draw_claims(runs: list[Run], path: Path) -> None:
    """What each claim taken out changes, by set."""
    found = changes(runs, VALIDATED)
    names = list(dict.fromkeys(run.dataset for run in runs))
    figure, axis = plt.subplots(figsize=(8, 4), layout="constrained")
    places = np.arange(len(found))
    for i, name in enumerate(names):
        offset = (i - (len(names) - 1) / 2) * 0.18
        for place, by_set in enumerate(found.values()):
            axis.plot(by_set[name], [place + offset] * len(by_set[name]), "o", color=f"C{i}", markersize=4)
        axis.plot([], [], "o", color=f"C{i}", label=name)
    axis.axvline(0.0, color="#888888", linewidth=0.8)
    axis.set_yticks(places, list(found))
    axis.invert_yaxis()
    axis.set_xlabel("change of average precision, each seed a dot")
    figure.legend(fontsize=8, loc="outside right upper")
    figure.savefig(path, dpi=110)

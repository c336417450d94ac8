"""What docs/detection.md promises beside average precision, measured on the sets of BENCH_DATA.

    python -m tests.benchmarks.detection.bench_robustness                       # everything, seed 0
    python -m tests.benchmarks.detection.bench_robustness --parts unseen,noise --preset "default trees=0"

- shuffled: average precision with parts of the evidence exchanged between test rows.
- calibration: normal test rows that alert at a budget of 1%, from a clean and from a contaminated reference.
- unseen: trained on one class of anomalies, tested on each other one of its family, beside the cold start.
- contamination: 0% to 20% hidden anomalies among as many unlabelled rows.
- cold: no label at all.
- noise: one of the ten labelled anomalies is a normal row.

Each finished figure is a line of --out, and is not measured again. --plots is where the pictures go.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nearnorm.models.conformal import threshold
from nearnorm.training.evaluation.calibrate import score
from nearnorm.training.fitting.fit import TrainingSet, fit
from nearnorm.training.method.config import FitConfig
from nearnorm.training.method.network import Detector, student_t
from tests.benchmarks.detection import robustness_report as report
from tests.benchmarks.detection.robustness_report import Figure
from tests.benchmarks.sets.bench_data import bench_data
from tests.benchmarks.sets.protocol import (
    Split,
    config_of,
    data_sets,
    family_of,
    split_of,
    task_of,
)

LABELS = 10
BUDGET = 0.01
REFERENCE_SHARE = 0.2
SHARES = (0.0, 0.05, 0.1, 0.2)
ENOUGH = 80
"""Hidden anomalies that a set needs for a curve up to a fifth of 400 unlabelled rows."""


Figures = Iterator[tuple[str, float]]
"""Of one data set, by what was varied."""


@dataclass(frozen=True)
class Setting:
    """What is the same for all figures of a part."""

    config: FitConfig
    seed: int

    def detector(self, training: TrainingSet) -> Detector:
        return fit(training, self.config, seed=self.seed).detector

    def split(self, name: str) -> Split:
        return split_of(task_of(name, LABELS, self.seed))


def shuffled(setting: Setting, name: str) -> Figures:
    split = setting.split(name)
    detector = setting.detector(split.training)
    order = torch.from_numpy(np.random.default_rng(setting.seed).permutation(len(split.truth)))
    with torch.no_grad():
        plain = detector.preprocess.plain_rows(torch.from_numpy(split.numeric), torch.from_numpy(split.codes))
        rows = detector.preprocess.mapped(plain)
        grown = 0.0 if detector.grown is None else detector.grown(plain)
        z, registry, squared = detector.evidence(rows)
        error, nearest = registry.mean(1), student_t(squared).amax(1)
        for what, parts in report.SHUFFLED.items():
            given = (
                z[:, order] if "z" in parts else z,
                error[order] if "r" in parts else error,
                nearest[order] if "q" in parts else nearest,
            )
            yield what, split.average_precision((detector.head(*given, rows).mean(0) + grown).numpy())


def calibration(setting: Setting, name: str) -> Figures:
    split = setting.split(name)
    unlabelled = np.flatnonzero(split.training.labels == -1)
    unlabelled = np.random.default_rng(setting.seed).permutation(unlabelled)
    reference = unlabelled[: round(REFERENCE_SHARE * len(unlabelled))]
    kept = np.setdiff1d(np.arange(len(split.hidden)), reference)
    detector = setting.detector(split.only(kept))
    held_out = split.only(reference)
    expected = score(detector, held_out.numeric, held_out.codes).score
    found = score(detector, split.numeric, split.codes).score
    clean = split.hidden[reference] == 0
    for what, scores in (("clean", expected[clean]), ("contaminated", expected)):
        above = found > threshold(scores, BUDGET)
        yield f"{what}: alerts", float(above[split.truth == 0].mean())
        yield f"{what}: found", float(above[split.truth == 1].mean())
    yield "reference", float(clean.sum())
    yield "normal", float((split.truth == 0).sum())
    yield "hidden", float((split.hidden[unlabelled] == 1).mean())


def unseen(setting: Setting, name: str) -> Figures:
    """From a class of anomalies to each other one of its family; sets without classes have none."""
    others = [other for other in data_sets() if ":" in other and family_of(other) == family_of(name)]
    if name not in others:
        return
    task = task_of(name, LABELS, setting.seed)
    training = split_of(task).training
    learned, without = setting.detector(training), setting.detector(without_labels(training))
    for other in others:
        if other != name:
            test = split_of(task, task_of(other, LABELS, setting.seed))
            found = score(learned, test.numeric, test.codes)
            yield f"{other}: trained", test.average_precision(found.score)
            yield f"{other}: its distance", test.average_precision(found.distance)
            yield f"{other}: cold start", test.tested(without)


def contamination(setting: Setting, name: str) -> Figures:
    split = setting.split(name)
    rng = np.random.default_rng(setting.seed)
    unlabelled = split.training.labels == -1
    hidden = rng.permutation(np.flatnonzero(unlabelled & (split.hidden == 1)))
    normal = rng.permutation(np.flatnonzero(unlabelled & (split.hidden == 0)))
    if len(hidden) < ENOUGH:
        return
    labelled = np.flatnonzero(split.training.labels == 1)
    size = min(len(normal), int(len(hidden) / max(SHARES)))
    for share in SHARES:
        bad = round(share * size)
        rows = rng.permutation(np.concatenate([hidden[:bad], normal[: size - bad], labelled]))
        yield f"{share:.0%}", split.tested(setting.detector(split.only(rows)))


def cold(setting: Setting, name: str) -> Figures:
    split = setting.split(name)
    yield "no label", split.tested(setting.detector(without_labels(split.training)))


def noise(setting: Setting, name: str) -> Figures:
    split = setting.split(name)
    rng = np.random.default_rng(setting.seed)
    labels = split.training.labels.copy()
    right = rng.choice(np.flatnonzero(labels == 1))
    wrong = rng.choice(np.flatnonzero((labels == -1) & (split.hidden == 0)))
    labels[right], labels[wrong] = -1, 1
    noisy = replace(split.training, labels=labels)
    for what, training in zip(report.NOISE, (split.training, noisy), strict=True):
        yield what, split.tested(setting.detector(training))


def without_labels(training: TrainingSet) -> TrainingSet:
    return replace(training, labels=np.full_like(training.labels, -1))


PARTS: dict[str, Callable[[Setting, str], Figures]] = {
    "shuffled": shuffled,
    "calibration": calibration,
    "unseen": unseen,
    "contamination": contamination,
    "cold": cold,
    "noise": noise,
}


def measured(out: Path, part: str, preset: str, seed: int) -> list[Figure]:
    """All figures of a part; those that `out` does not have yet are measured, and added to it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = map(json.loads, out.read_text().splitlines()) if out.exists() else []
    of_part: dict[str, Any] = {"part": part, "preset": preset, "seed": seed}
    figures = [Figure(**line) for line in lines if {key: line[key] for key in of_part} == of_part]
    done = {figure.dataset for figure in figures}
    setting = Setting(config_of(preset), seed)
    for name in data_sets():
        if name in done:
            continue
        values = PARTS[part](setting, name)
        found = [Figure(**of_part, dataset=name, what=what, value=value) for what, value in values]
        figures += found
        with out.open("a") as file:
            file.writelines(json.dumps(asdict(figure)) + "\n" for figure in found)
        print(f"{part} {name}: " + ", ".join(f"{f.what} {f.value:.3f}" for f in found[:5]), file=sys.stderr)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--preset", default="default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("var/robustness.jsonl"))
    parser.add_argument("--plots", type=Path, help="a folder, as docs/images")
    given = parser.parse_args()
    parts = given.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--parts: there is no {', '.join(unknown)}")
    if bench_data("bench") is None:
        return
    torch.set_num_threads(1)
    figures = {part: measured(given.out, part, given.preset, given.seed) for part in parts}
    for part, found in figures.items():
        print(f"\n{part}, {given.preset}, seed {given.seed}\n\n{report.TABLES[part](found)}")
    if given.plots is not None:
        report.draw(figures, given.plots)


if __name__ == "__main__":
    main()

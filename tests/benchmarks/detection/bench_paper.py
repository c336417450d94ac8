"""`make bench-paper`: the preset `paper` on its authors' protocol, and what the paper's claims are worth.

    python -m tests.benchmarks.detection.bench_paper [--seeds 0,1,2] [--modes validation,none] [--plots DIR]

Each set and seed is fitted once for each mode; with validation its joint stage is run again from the same
state with one claim taken out at a time. Test labels are for the figures alone. Each finished run is a line
of --out, and is not done again.
"""

import argparse
import copy
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from nearnorm.training.fitting import fit as fitting
from nearnorm.training.fitting import joint
from nearnorm.training.fitting.fit import fit
from nearnorm.training.method.config import FitConfig
from nearnorm.training.method.network import Detector
from nearnorm.training.method.prototypes import find_prototypes
from tests.benchmarks.detection.paper_protocol import SETS, PaperSplit, paper_split, precision_on
from tests.benchmarks.detection.paper_report import (
    VALIDATED,
    WHOLE,
    Epoch,
    Run,
    claims,
    draw_claims,
    draw_epochs,
    modes,
)
from tests.benchmarks.sets.bench_data import bench_data
from tests.benchmarks.sets.protocol import recorded

LONG = 40
"""Epochs of the run that nothing stops."""
PAPER = FitConfig.preset_of("paper")
ON = "runs on"


def _no_weights(similarity: Tensor, confirmed: int) -> Tensor:
    return torch.ones_like(similarity)


def _nothing(*_: object) -> Tensor:
    return torch.zeros(())


VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Callable[..., Tensor]]]] = {
    WHOLE: ({}, {}),
    "one prototype": ({"prototypes": 1}, {}),
    "no likelihood weights": ({}, {"normal_likelihood": _no_weights}),
    "equal weights of the losses": ({"dynamic_weights": False}, {}),
    "no contrast loss": ({}, {"contrast_loss": _nothing}),
    "no clustering loss": ({}, {"clustering_loss": _nothing}),
    "clustering target held fixed": ({"fixed_target": True}, {}),
    ON: ({"patience": None, "joint_epochs": LONG}, {}),
}
"""Keys of [fit] that differ, and losses that stand in for those of the joint stage."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--modes", default="validation,none")
    parser.add_argument("--out", type=Path, default=Path("var/paper.jsonl"))
    parser.add_argument("--plots", type=Path, help="the folder for pictures of the runs with validation")
    options = parser.parse_args()
    if bench_data("bench") is None:
        return
    torch.set_num_threads(1)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    runs = [Run.read(json.loads(line)) for line in lines]
    for seed in map(int, options.seeds.split(",")):
        for mode in options.modes.split(","):
            done = {run.dataset for run in runs if (run.seed, run.mode) == (seed, mode)}
            for name in [name for name in SETS if name not in done]:
                found = list(_runs(paper_split(name), name, seed, mode))
                runs += found
                with options.out.open("a") as file:
                    file.writelines(json.dumps(asdict(run)) + "\n" for run in found)
                print(f"{name} seed {seed} {mode}: AP {found[0].average_precision:.3f}", file=sys.stderr)
    peers = {
        row["dataset"]: row["auc_pr"]
        for row in recorded()
        if (row["protocol"], row["method"]) == ("P", "mnpwad_official")
    }
    print(modes(runs, peers), claims(runs), sep="\n\n")
    if options.plots is not None:
        draw_epochs([run for run in runs if run.variant == ON], options.plots / "paper-epochs.png")
        draw_claims(runs, options.plots / "paper-claims.png")


def _runs(split: PaperSplit, name: str, seed: int, mode: str) -> Iterator[Run]:
    """The joint stage of one fit, whole and changed."""
    states: list[tuple[Any, ...]] = []

    def keep(*state: Any) -> int:
        states.append(state)
        return 0

    with patch.object(fitting, "train_jointly", keep):
        fit(split.training, PAPER, seed=seed, validation=split.validation if mode == VALIDATED else None)
    for variant, (keys, losses) in VARIANTS.items():
        if mode != VALIDATED and variant != WHOLE:
            continue
        detector, rows, held_out, config, sampler, _, validation = copy.deepcopy(states[0])
        detector.eval()
        if "prototypes" in keys:
            _set_prototypes(detector, held_out, keys["prototypes"], seed)
        changed = FitConfig.model_validate({**config.model_dump(), **keys})
        epochs: list[Epoch] = []
        if variant == ON:
            validation = None  # its rows' labels are watched, and choose nothing
        with _replaced(losses):
            watch = partial(_watch, epochs, split, detector)
            kept = joint.train_jointly(detector, rows, held_out, changed, sampler, watch, validation)
        yield Run(name, seed, mode, variant, split.tested(detector), kept, epochs)


def _watch(
    epochs: list[Epoch], split: PaperSplit, detector: Detector, _: int, losses: dict[str, float]
) -> None:
    judged = precision_on(split.validation, detector)
    epochs.append(Epoch(losses["held_out"], judged, split.tested(detector)))


def _set_prototypes(detector: Detector, held_out: Tensor, count: int, seed: int) -> None:
    with torch.no_grad():
        raw = detector.join(detector.encode(held_out)).numpy()
    detector.set_prototypes(torch.from_numpy(find_prototypes(raw, count, np.random.default_rng(seed))))


@contextmanager
def _replaced(losses: dict[str, Callable[..., Tensor]]) -> Iterator[None]:
    with ExitStack() as stack:
        for name, loss in losses.items():
            stack.enter_context(patch.object(joint, name, loss))
        yield


if __name__ == "__main__":
    main()

"""Makes the teacher's weights anew: python -m nearnorm.training.teacher.pretrain

It learns on made-up tasks alone, on one thread, for a quarter of an hour: no real record has a part in them.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nearnorm.training.method.precision import average_precision
from nearnorm.training.method.threads import one_thread
from nearnorm.training.teacher.cells import Beside
from nearnorm.training.teacher.made_up.task import Task, task
from nearnorm.training.teacher.network import Network
from nearnorm.training.teacher.weights import WEIGHTS, write

TASKS = 9_000
"""Of the weights that ship."""
TOGETHER = 8
"""Tasks of one step."""
KNOWN = 64
"""Unlabelled rows that the network compares with while it learns."""
RATE = 2e-3
WARM = 600
"""Tasks until the rate is reached."""
DECAY = 1e-2
TOLD = 400
"""Tasks between two lines about how it goes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=TASKS, help="rounded up to eights (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    with one_thread():
        network = pretrain(options.tasks, options.seed)
    write(network, options.out)


def pretrain(tasks: int, seed: int) -> Network:
    """A network that has learnt on so many made-up tasks."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed + 1)
    network = Network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    found: list[float] = []
    for done in range(0, tasks, TOGETHER):
        rate = RATE * min(1.0, (done + 1) / WARM) * (0.5 + 0.49 * np.cos(np.pi * done / tasks))
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        for _ in range(TOGETHER):
            made = task(rng)
            logit = network(*seen(made))
            truth = torch.from_numpy(made.truth > 0)
            loss = loss_of(logit, truth) / TOGETHER
            loss.backward()  # type: ignore[no-untyped-call]
            found.append(average_precision(made.truth, logit.detach().numpy()))
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if len(found) >= TOLD:
            print(f"{done + TOGETHER} tasks, average precision {np.mean(found):.4f}", flush=True)  # noqa: T201
            found.clear()
    return network.eval()


def seen(made: Task) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What the network takes of a task."""
    beside = Beside(made.labelled, made.unlabelled)
    labelled, unlabelled = beside.labelled_cells(), beside.unlabelled_cells(KNOWN)
    arrays = labelled, unlabelled, beside.cells(made.asked), beside.columns(labelled, unlabelled)
    one, two, three, four = map(torch.from_numpy, arrays)
    return one, two, three, four


def loss_of(logit: Tensor, anomalous: Tensor) -> Tensor:
    """How little each anomaly [N] stands out from all normal rows together."""
    bad, good = logit[anomalous], torch.logsumexp(logit[~anomalous], dim=0)
    return (torch.logaddexp(bad, good) - bad).mean()


if __name__ == "__main__":
    main()

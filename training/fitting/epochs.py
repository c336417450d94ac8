"""The training loop that every stage shares: epochs of steps, a held-out loss, early stopping."""

import copy
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nearnorm.training.fitting.adam import Adam
from nearnorm.training.method.paper import LossWeights

Report = Callable[[int, dict[str, float]], None]
"""Takes an epoch's number and its mean losses."""

STEPS_PER_EPOCH = 64
WEIGHT_DECAY = 5e-4


@dataclass(frozen=True)
class Schedule:
    """How long a stage may run; patience None runs every epoch. An epoch is judged by the mean held-out loss
    of the last `smoothed` epochs, itself among them."""

    epochs: int
    patience: int | None
    learning_rate: float
    dynamic_weights: bool = False
    smoothed: int = 1


def train(
    module: nn.Module,
    step: Callable[[], dict[str, Tensor]],
    held_out: Callable[[], Tensor],
    schedule: Schedule,
    report: Report,
) -> int:
    """Minimise the sum of `step`'s losses with Adam; answer the epoch whose weights are kept.

    With patience, the weights of the best judgement are put back; `report` gets each epoch's number and
    mean losses, its own `held_out` among them.
    """
    adam = Adam(module.parameters(), schedule.learning_rate, WEIGHT_DECAY)
    weights = LossWeights() if schedule.dynamic_weights else None
    best, best_epoch, best_state = float("inf"), 0, module.state_dict()
    last: deque[float] = deque(maxlen=schedule.smoothed)
    for epoch in range(1, schedule.epochs + 1):
        module.train()
        totals: dict[str, float] = {}
        for _ in range(STEPS_PER_EPOCH):
            losses = step()
            total = weights.combine(losses) if weights else torch.stack([*losses.values()]).sum()
            adam.step(total)
            for name, loss in losses.items():
                totals[name] = totals.get(name, 0.0) + float(loss.detach()) / STEPS_PER_EPOCH
        if weights:
            weights.end_epoch(totals)
        module.eval()
        with torch.no_grad():
            last.append(float(held_out()))
        report(epoch, {**totals, "held_out": last[-1]})
        judgement = sum(last) / len(last)
        if schedule.patience is None:
            best_epoch = epoch
        elif judgement < best:
            best, best_epoch, best_state = judgement, epoch, copy.deepcopy(module.state_dict())
        elif epoch - best_epoch >= schedule.patience:
            break
    if schedule.patience is not None:
        module.load_state_dict(best_state)
    return best_epoch

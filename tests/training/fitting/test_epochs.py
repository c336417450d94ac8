"""When a stage stops, and which epoch it keeps."""

import pytest
import torch
from torch import Tensor, nn

from nearnorm.training.fitting.epochs import Schedule, train


class Counter(nn.Module):
    """One weight that every step moves."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


def stop(losses: list[float], smoothed: int, patience: int | None = 3) -> tuple[int, int, list[float]]:
    """The epoch kept, how many were run, and the weight after each; the last is the one that stays."""
    module = Counter()
    weights: list[float] = []
    left = iter(losses)

    def step() -> dict[str, Tensor]:
        return {"loss": (module.weight - 100.0).square().sum()}

    def report(epoch: int, _: dict[str, float]) -> None:
        weights.append(float(module.weight.detach()))

    schedule = Schedule(len(losses), patience, 0.01, smoothed=smoothed)
    kept = train(module, step, lambda: torch.tensor(next(left)), schedule, report)
    return kept, len(weights), [*weights, float(module.weight.detach())]


DIP = [5.0, 5.0, 1.0, 5.0, 3.0, 3.0, 3.0, 4.0, 5.0, 6.0, 7.0]


def test_one_lucky_epoch_is_not_kept_where_the_loss_is_smoothed() -> None:
    kept, run, _ = stop(DIP, smoothed=1)
    assert (kept, run) == (3, 6)
    kept, run, _ = stop(DIP, smoothed=3)
    assert (kept, run) == (5, 8)


@pytest.mark.parametrize("smoothed", [1, 3])
def test_the_weights_of_the_epoch_that_is_kept_are_put_back(smoothed: int) -> None:
    kept, _, weights = stop(DIP, smoothed)
    assert weights[-1] == weights[kept - 1]


def test_without_patience_every_epoch_is_run_and_the_last_is_kept() -> None:
    kept, run, weights = stop(DIP, smoothed=3, patience=None)
    assert kept == run == len(DIP)
    assert weights[-1] == weights[-2]

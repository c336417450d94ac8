from pathlib import Path

import numpy as np
import pytest
import torch

from nearnorm.training.method.precision import average_precision
from nearnorm.training.method.threads import one_thread
from nearnorm.training.teacher import weights
from nearnorm.training.teacher.made_up.task import task
from nearnorm.training.teacher.network import Network
from nearnorm.training.teacher.pretrain import loss_of, pretrain, seen
from nearnorm.training.teacher.weights import WEIGHTS, teacher, write


@pytest.fixture(scope="module")
def hasty() -> Network:
    return learnt(3)


def learnt(seed: int) -> Network:
    with one_thread():
        return pretrain(8, seed)


def test_the_command_learns_the_same_weights_each_time(hasty: Network) -> None:
    one, same = hasty.state_dict(), learnt(3).state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["query.weight"], learnt(4).state_dict()["query.weight"])


def test_weights_are_read_as_they_were_written(
    hasty: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(hasty, tmp_path / "weights.npz")
    monkeypatch.setattr(weights, "WEIGHTS", tmp_path / "weights.npz")
    read = teacher.__wrapped__().state_dict()
    assert all(torch.equal(value, read[name]) for name, value in hasty.state_dict().items())


def test_the_weights_that_ship_are_small_and_rank_made_up_tasks_that_they_have_not_learnt() -> None:
    assert WEIGHTS.stat().st_size < 200_000
    rng = np.random.default_rng(1_000_000)
    found, chance = [], []
    for _ in range(40):
        made = task(rng)
        found.append(average_precision(made.truth, teacher()(*seen(made)).numpy()))
        chance.append(made.truth.mean())
    assert np.mean(found) > 3 * np.mean(chance)


def test_the_loss_is_less_the_more_anomalies_stand_out() -> None:
    truth = torch.tensor([True, True, False, False])
    assert loss_of(torch.tensor([3.0, 3.0, 0.0, 0.0]), truth) < loss_of(
        torch.tensor([1.0, 1.0, 0.0, 0.0]), truth
    )

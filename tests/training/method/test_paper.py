"""What the preset `paper` does in its own way."""

import numpy as np
import pytest
import torch

from nearnorm.training.method.paper import LossWeights, choose_prototypes
from tests.training.method.test_prototypes import groups


def test_silhouette_finds_the_number_of_groups() -> None:
    for count in (2, 4, 6):
        found, silhouettes = choose_prototypes(groups(count), np.random.default_rng(0))
        assert len(found) == count
        assert max(silhouettes, key=lambda k: silhouettes[k]) == str(count)


def test_rows_that_are_all_alike_have_one_prototype_that_no_silhouette_chose() -> None:
    found, silhouettes = choose_prototypes(np.ones((10, 3)), np.random.default_rng(0))
    assert len(found) == 1
    assert not silhouettes


def test_the_same_stream_chooses_the_same_prototypes() -> None:
    first = choose_prototypes(groups(3), np.random.default_rng(7))[0]
    again = choose_prototypes(groups(3), np.random.default_rng(7))[0]
    assert (first == again).all()


def test_dynamic_weights_favour_the_loss_that_falls_slower() -> None:
    weights = LossWeights()
    weights.end_epoch({"slow": 1.0, "fast": 1.0})
    slow, fast = torch.tensor(0.9, requires_grad=True), torch.tensor(0.1, requires_grad=True)
    share = torch.softmax(torch.tensor([0.9, 0.1]) / 2.0, 0)
    got = weights.combine({"slow": slow, "fast": fast})
    assert got.item() == pytest.approx((share[0] * 0.9 + share[1] * 0.1).item())
    assert share[0] > share[1]

import pytest
import torch
from torch.nn.functional import smooth_l1_loss

from nearnorm.training.method.losses import (
    MARGIN,
    clustering_loss,
    contrast_loss,
    huber,
    normal_likelihood,
    reconstruction_loss,
    score_loss,
)

NONE = torch.zeros(1, 0)


def test_huber_is_smooth_l1() -> None:
    error = torch.tensor([0.0, 0.3, 1.0, 2.5])
    wanted = smooth_l1_loss(error, torch.zeros(4), reduction="none")
    assert torch.allclose(huber(error), wanted)


def test_likelihoods_have_mean_one_and_confirmed_normals_the_greatest() -> None:
    weight = normal_likelihood(torch.tensor([0.2, 0.9, 1.0, 0.3]), confirmed=1)
    assert weight.mean().item() == pytest.approx(1.0)
    assert weight[3] == weight.max() == weight[2]
    assert weight[0] < weight[1]


def test_reconstruction_asks_anomalies_to_be_worse_than_normals_by_the_margin() -> None:
    normal, weight = torch.full((4,), 0.1), torch.ones(4)
    near = reconstruction_loss(normal, weight, torch.full((2,), 0.1))
    far = reconstruction_loss(normal, weight, torch.full((2,), 0.1 + MARGIN))
    assert near.item() == pytest.approx(0.1 + MARGIN)
    assert far.item() == pytest.approx(0.1)


def test_score_loss_weights_every_unlabelled_row_by_its_own_likelihood() -> None:
    scores, weight = torch.tensor([[1.0, 0.0]]), torch.tensor([0.5, 1.5])
    got = score_loss(scores, weight, NONE, torch.tensor([[1.0]]), torch.ones(1))
    assert got.item() == pytest.approx(0.5 * 0.5 / 2)


def test_confirmed_normals_are_a_term_of_their_own() -> None:
    scores, weight = torch.zeros(1, 2), torch.ones(2)
    anomalous, target = torch.ones(1, 1), torch.ones(1)
    got = score_loss(scores, weight, torch.ones(1, 1), anomalous, target)
    assert got.item() == pytest.approx(0.5)


def test_a_fixed_target_takes_no_gradient_that_draws_prototypes_together() -> None:
    torch.manual_seed(0)
    similarity = torch.rand(32, 4).requires_grad_()
    fixed = torch.autograd.grad(clustering_loss(similarity, True), similarity)[0]
    free = torch.autograd.grad(clustering_loss(similarity, False), similarity)[0]
    assert clustering_loss(similarity, True) == clustering_loss(similarity, False)
    assert not torch.allclose(fixed, free)


def test_clustering_of_sharp_assignments_costs_nothing() -> None:
    sharp = torch.eye(4).clamp(min=1e-6).repeat(3, 1)
    assert clustering_loss(sharp, True).item() == pytest.approx(0.0, abs=1e-4)
    assert clustering_loss(torch.rand(64, 4) + 0.1, True) > 0.0


def test_contrast_falls_as_anomalies_leave_the_prototypes() -> None:
    weight = torch.ones(3)
    near = contrast_loss(torch.full((3,), 0.9), weight, torch.full((2,), 0.9))
    far = contrast_loss(torch.full((3,), 0.9), weight, torch.full((2,), 0.2))
    assert far < near

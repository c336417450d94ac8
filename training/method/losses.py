"""The losses of the method. Shapes: u unlabelled rows, a labelled anomalies, n confirmed normals,
K prototypes, M members. Every loss is a scalar; member axes come first and are averaged over.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

MARGIN = 0.02
"""m: how much worse anomalies must be reconstructed than normal rows."""


def huber(error: Tensor) -> Tensor:
    """SmoothL1 of an absolute error, as c (e - c / 2) with c = min(e, 1): no branch in the graph."""
    clipped = error.clamp(max=1.0)
    return clipped * (error - 0.5 * clipped)


def normal_likelihood(similarity: Tensor, confirmed: int) -> Tensor:
    """w = sigmoid(beta q*), beta = 1, rescaled to mean 1 in the batch. [rows] -> [rows].

    The last `confirmed` rows are confirmed normals: they get the greatest weight of the batch.
    """
    weight = torch.sigmoid(similarity)
    if confirmed:
        greatest = weight.max().expand(confirmed)
        weight = torch.cat([weight[: len(weight) - confirmed], greatest])
    return weight / weight.mean()


def reconstruction_loss(normal: Tensor, weight: Tensor, anomalous: Tensor) -> Tensor:
    """L_r = mean_u(w r) + mean_a relu(m - r_a + mean_u(w r)); [M, u], [u], [M, a]."""
    level = (weight * normal).mean(-1, keepdim=True)
    if anomalous.shape[-1] == 0:
        return level.mean()
    return level.mean() + torch.relu(MARGIN - anomalous + level).mean()


def score_loss(
    normal: Tensor, weight: Tensor, confirmed: Tensor, anomalous: Tensor, target: Tensor
) -> Tensor:
    """L_s = mean_a SmoothL1(s, target) + mean_u(w SmoothL1(s, 0)) + mean_n SmoothL1(s, 0).

    [M, u], [u], [M, n], [M, a], [a]; the target is 1, or less for a row mixed with a normal one.
    """
    loss = huber((anomalous - target).abs()).mean() + (weight * huber(normal)).mean()
    if confirmed.shape[-1]:
        loss = loss + huber(confirmed).mean()
    return loss


def clustering_loss(similarity: Tensor, fixed_target: bool) -> Tensor:
    """L_kl = KL(t || q̄) over unlabelled rows, [u, K] -> scalar.

    q̄ = q / sum_k q, and t_ik ∝ q̄_ik² / sum_i q̄_ik with rows normalised. The published code lets
    gradients through t, which can draw the prototypes together; `fixed_target` holds it fixed.
    """
    share = similarity / similarity.sum(1, keepdim=True)
    sharpened = share.square() / share.sum(0)
    target = sharpened / sharpened.sum(1, keepdim=True)
    if fixed_target:
        target = target.detach()
    return (target * (target / share).log()).sum(1).mean()


def contrast_loss(normal: Tensor, weight: Tensor, anomalous: Tensor) -> Tensor:
    """L_c = -log sigmoid(mean_u(w q*) - mean_a q*); [u], [u], [a] -> scalar."""
    return -F.logsigmoid((weight * normal).mean() - anomalous.mean())

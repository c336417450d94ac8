"""Stage 3: representation, prototypes and score trained together."""

import torch
from torch import Tensor

from nearnorm.training.fitting.epochs import Report, Schedule, train
from nearnorm.training.fitting.sampling import LABELLED_BATCH, UNLABELLED_BATCH, Sampler
from nearnorm.training.method.config import FitConfig
from nearnorm.training.method.losses import (
    clustering_loss,
    contrast_loss,
    huber,
    normal_likelihood,
    reconstruction_loss,
    score_loss,
)
from nearnorm.training.method.network import Detector, student_t


def train_jointly(
    detector: Detector,
    rows: tuple[Tensor, Tensor, Tensor],
    held_out: Tensor,
    config: FitConfig,
    sampler: Sampler,
    report: Report,
) -> int:
    """Train all of the detector on unlabelled, confirmed normal and labelled anomalous rows.

    Input rows [N, D] each; without labelled anomalies the terms with them vanish and the head is
    left alone. The answer is the epoch that is kept.
    """
    unlabelled, confirmed, labelled = rows

    def step() -> dict[str, Tensor]:
        u = sampler.rows(unlabelled, UNLABELLED_BATCH)
        n = sampler.rows(confirmed, LABELLED_BATCH)
        a = sampler.rows(labelled, LABELLED_BATCH)
        target = torch.ones(len(a))
        if config.mixing and len(a):
            share = sampler.shares(len(a))
            mixed = share[:, None] * a + (1.0 - share[:, None]) * u[: len(a)]
            a, target = torch.cat([a, mixed]), torch.cat([target, share])
        return losses(u, n, a, target)

    def losses(u: Tensor, n: Tensor, a: Tensor, target: Tensor) -> dict[str, Tensor]:
        batch = torch.cat([u, n, a])
        normals = len(u) + len(n)
        z, slots, squared = detector.evidence(batch)
        similarity, error = student_t(squared), slots.mean(1)
        nearest = similarity.amax(1)
        weight = normal_likelihood(nearest[:normals], len(n))
        if config.fixed_target:
            weight = weight.detach()
        terms = {
            "reconstruction": reconstruction_loss(error[:normals], weight, error[normals:]),
            "prototypes": clustering_loss(similarity[:normals], config.fixed_target),
        }
        if len(labelled):
            score = torch.sigmoid(detector.head(z, error, nearest, batch))
            normal, anomalous = score[:, :normals], score[:, normals:]
            terms["score"] = score_loss(normal, weight, normal[:, len(u) :], anomalous, target)
            contrast = contrast_loss(nearest[:normals], weight, nearest[normals:])
            terms["prototypes"] = terms["prototypes"] + contrast
        return terms

    def held_out_loss() -> Tensor:
        """Every term that needs no labelled anomaly."""
        z, slots, squared = detector.evidence(held_out)
        similarity, error = student_t(squared), slots.mean(1)
        nearest = similarity.amax(1)
        weight = normal_likelihood(nearest, 0)
        loss = (weight * error).mean() + clustering_loss(similarity, True)
        if len(labelled):
            score = torch.sigmoid(detector.head(z, error, nearest, held_out))
            loss = loss + (weight * huber(score)).mean()
        return loss

    schedule = Schedule(config.joint_epochs, config.patience, config.learning_rate, config.dynamic_weights)
    return train(detector, step, held_out_loss, schedule, report)

"""Stage 3: representation, prototypes and score trained together.

Confirmed normals are mostly alerts that somebody looked at: they lie where anomalies lie. A batch has as
many of them as of labelled anomalies, so that beside a handful of anomalies they teach the networks to look
away from the whole place, hidden anomalies and all; trees they teach well. With anomalies enough to hold the
place, networks gain most from them.
"""

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from nearnorm.training.fitting.epochs import Report, Schedule, train
from nearnorm.training.fitting.sampling import LABELLED_BATCH, UNLABELLED_BATCH, Sampler
from nearnorm.training.method.config import FitConfig
from nearnorm.training.method.enough import enough
from nearnorm.training.method.losses import (
    clustering_loss,
    contrast_loss,
    huber,
    normal_likelihood,
    reconstruction_loss,
    score_loss,
)
from nearnorm.training.method.network import Detector, student_t
from nearnorm.training.method.precision import average_precision

TIE = 1e-3
"""What the held-out loss counts beside average precision: it decides between epochs that rank alike."""
SMOOTHED = 3
"""The held-out loss goes up and down from one epoch to the next, and one low value is luck."""


@dataclass(frozen=True)
class Validation:
    """Input rows [V, D] that are not trained on, and which of them are anomalies [V]: all labels are true."""

    rows: Tensor
    anomalous: Tensor


def train_jointly(
    detector: Detector,
    rows: tuple[Tensor, Tensor, Tensor],
    held_out: Tensor,
    config: FitConfig,
    sampler: Sampler,
    report: Report,
    validation: Validation | None = None,
) -> int:
    """Train all of the detector on unlabelled, confirmed normal and labelled anomalous rows.

    Input rows [N, D] each; without labelled anomalies the terms with them vanish and the head is
    left alone. An epoch is judged by the average precision of `validation` where there is any,
    else by the score's loss on `held_out` rows, smoothed. The answer is the epoch that is kept.
    """
    unlabelled, confirmed, labelled = rows
    learnt = round(enough(len(labelled)) * len(confirmed))
    unlabelled, confirmed = torch.cat([unlabelled, confirmed[learnt:]]), confirmed[:learnt]

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
        """What of the score's loss needs no label; without a score to train, every such term."""
        z, slots, squared = detector.evidence(held_out)
        similarity, error = student_t(squared), slots.mean(1)
        nearest = similarity.amax(1)
        weight = normal_likelihood(nearest, 0)
        if not len(labelled):
            return (weight * error).mean() + clustering_loss(similarity, True)
        return (weight * huber(torch.sigmoid(detector.head(z, error, nearest, held_out)))).mean()

    def validation_loss(judge: Validation) -> Tensor:
        """What average precision lacks of 1; the held-out loss breaks ties."""
        z, slots, squared = detector.evidence(judge.rows)
        score = detector.head(z, slots.mean(1), student_t(squared).amax(1), judge.rows).mean(0)
        precision = average_precision(judge.anomalous.numpy(), score.numpy())
        return 1.0 - precision + TIE * held_out_loss()

    schedule = Schedule(config.joint_epochs, config.patience, config.learning_rate, config.dynamic_weights)
    if validation is None or not len(labelled):  # without a label there is no score to judge
        return train(detector, step, held_out_loss, replace(schedule, smoothed=SMOOTHED), report)
    return train(detector, step, partial(validation_loss, validation), schedule, report)

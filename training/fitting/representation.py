"""Stage 1: the autoencoder, end to end."""

from collections.abc import Callable

from torch import Tensor

from nearnorm.training.fitting.epochs import Report, Schedule, train
from nearnorm.training.fitting.sampling import UNLABELLED_BATCH, Sampler
from nearnorm.training.method.network import Detector


def learn_representation(
    detector: Detector,
    rows: Tensor,
    held_out: Tensor,
    schedule: Schedule,
    sampler: Sampler,
    watch: Callable[[str], Report],
) -> int:
    """Train encoder and decoder to rebuild rows [N, D] (MSE); answer the kept epoch."""

    def loss(batch: Tensor) -> Tensor:
        return (batch - detector.decode(detector.encode(batch))).square().mean()

    return train(
        detector,
        lambda: {"mse": loss(sampler.rows(rows, UNLABELLED_BATCH))},
        lambda: loss(held_out),
        schedule,
        watch("representation"),
    )

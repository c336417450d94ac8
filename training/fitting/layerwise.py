"""Layer-wise denoising pre-training, which the preset `paper` puts before stage 1."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nearnorm.training.fitting.epochs import Report, Schedule, train
from nearnorm.training.fitting.sampling import UNLABELLED_BATCH, Sampler
from nearnorm.training.method.ensemble import MemberLinear, leaky
from nearnorm.training.method.network import Detector

NOISE = 0.05


def pretrain_layers(
    detector: Detector,
    rows: Tensor,
    held_out: Tensor,
    schedule: Schedule,
    sampler: Sampler,
    watch: Callable[[str], Report],
) -> dict[str, int]:
    """Each encoder layer and its mirror in the decoder rebuild their input from a noisy copy.

    Of one member: layer-wise pre-training belongs to the published method, which has one.
    """

    def denoise(
        stage: str,
        into: MemberLinear,
        back: MemberLinear,
        output: Callable[[Tensor], Tensor],
        clean: tuple[Tensor, Tensor],
    ) -> int:
        def loss(batch: Tensor, seen: Tensor) -> Tensor:
            return (batch - output(back(leaky(into(seen))))).square().mean()

        def step() -> dict[str, Tensor]:
            batch = sampler.rows(clean[0], UNLABELLED_BATCH)
            return {"mse": loss(batch, batch + sampler.noise(batch, NOISE))}

        pair = nn.ModuleList([into, back])
        return train(pair, step, lambda: loss(clean[1], clean[1]), schedule, watch(stage))

    stops = {
        "layer_1": denoise(
            "layer_1", detector.encode_in, detector.decode_out, detector.output, (rows, held_out)
        )
    }
    with torch.no_grad():
        hidden = leaky(detector.encode_in(rows))[0], leaky(detector.encode_in(held_out))[0]
    stops["layer_2"] = denoise("layer_2", detector.encode_out, detector.decode_in, leaky, hidden)
    return stops

"""What is exported answers as what was trained, for every form of the network."""

import numpy as np
import pytest
import torch

from tests.training.samples import quick, sample
from training.cold_start import RankHead
from training.config import FitConfig, Preset
from training.fit import fit
from training.fused import Fused
from training.heads import ForestHead
from training.network import Detector
from training.preprocess import Preprocess


@pytest.mark.parametrize("preset", ["default", "paper"])
@pytest.mark.parametrize("head", ["score", "rank"])
@pytest.mark.parametrize("skip", [True, False])
def test_the_fused_module_answers_as_the_detector(preset: Preset, head: str, skip: bool) -> None:
    data = sample()[0]
    config = FitConfig(preset=preset, members=3, skip=skip, layerwise=False)
    generator = torch.Generator().manual_seed(0)
    preprocess = Preprocess(data.numeric, data.codes, data.cardinalities, config.transform)
    detector = Detector(preprocess, config, generator)
    detector.centres = torch.nn.Parameter(torch.randn(3, 4, config.embedding, generator=generator))
    if head == "rank":
        values = torch.randn(200, preprocess.width, generator=generator) if preset == "default" else None
        error, similarity = torch.rand(2, 200, generator=generator)
        detector.head = RankHead(error, similarity, values)
    numeric, codes = data.numeric[:200].copy(), data.codes[:200].copy()
    numeric[::7] = np.nan
    codes[::5] = 0
    rows = torch.from_numpy(numeric), torch.from_numpy(codes)
    with torch.inference_mode():
        for found, expected in zip(Fused(detector)(*rows), detector(*rows), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_fused_forest_answers_as_the_detector() -> None:
    data, _ = sample()
    detector = fit(data, quick(), seed=0).detector
    assert isinstance(detector.head, ForestHead)
    rows = torch.from_numpy(data.numeric), torch.from_numpy(data.codes)
    with torch.inference_mode():
        for found, expected in zip(Fused(detector)(*rows), detector(*rows), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)

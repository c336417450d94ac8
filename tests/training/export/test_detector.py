"""What is exported answers as what was trained, for every form of the network."""

import numpy as np
import onnxruntime as ort
import pytest
import torch

from nearnorm.training.export.detector import fused
from nearnorm.training.export.graph import Graph
from nearnorm.training.export.inputs import slots
from nearnorm.training.export.onnx_graph import INPUTS, OUTPUTS
from nearnorm.training.fitting.fit import fit
from nearnorm.training.method.cold_start import RankHead
from nearnorm.training.method.config import FitConfig, Preset
from nearnorm.training.method.heads import ForestHead
from nearnorm.training.method.inputs.preprocess import Preprocess
from nearnorm.training.method.network import Detector
from tests.training.samples import quick, sample


def assert_same(detector: Detector, numeric: np.ndarray, codes: np.ndarray) -> None:
    session = ort.InferenceSession(fused(detector).SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(list(OUTPUTS), dict(zip(INPUTS, (numeric, codes), strict=True)))
    with torch.inference_mode():
        expected = detector(torch.from_numpy(numeric), torch.from_numpy(codes))
    for name, one, other in zip(OUTPUTS, found, expected, strict=True):
        least = 1e-4 if name == "distance" else 1e-5  # a root: of 0, rounding makes 1e-4
        torch.testing.assert_close(torch.from_numpy(one), other, rtol=1e-4, atol=least, msg=name)


@pytest.mark.parametrize("preset", ["default", "paper"])
@pytest.mark.parametrize("head", ["score", "rank"])
def test_the_fused_graph_answers_as_the_detector(preset: Preset, head: str) -> None:
    data = sample()[0]
    config = FitConfig(preset=preset, members=3, layerwise=False)
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
    numeric[1::7] *= -1e3
    numeric[2::7] = 1e300
    codes[::5] = 0
    assert_same(detector, numeric, codes)


@pytest.mark.parametrize(("labelled", "transform"), [(5, "quantile"), (20, "quantile"), (20, "minmax")])
def test_the_fused_forest_answers_as_the_detector(labelled: int, transform: str) -> None:
    data, _ = sample(labelled=labelled)
    detector = fit(data, quick(transform=transform), seed=0).detector
    assert isinstance(detector.head, ForestHead)
    assert (detector.grown is not None) is (labelled > 10)
    assert_same(detector, data.numeric, data.codes)


def test_columns_of_few_and_of_many_values_get_the_very_scores_of_training() -> None:
    rng = np.random.default_rng(0)
    rows = 2_000
    numeric = np.stack(
        [
            rng.integers(0, 2, rows).astype(float),
            np.full(rows, 3.0),
            np.full(rows, np.nan),
            np.exp(5.0 * rng.normal(size=rows)),
            1_700_000_000.0 + rng.permutation(rows),
            np.where(rng.random(rows) < 0.9, 0.0, rng.normal(size=rows)),
        ],
        axis=1,
    )
    codes = np.zeros((rows, 0), np.int64)
    preprocess = Preprocess(numeric, codes, (), "quantile")
    graph = Graph()
    mapped = slots(graph, preprocess).input()
    graph.node("Transpose", mapped, perm=[1, 0], output="mapped")
    model = graph.model(
        {"numeric": (np.float64, 6), "codes": (np.int64, 0)}, {"mapped": (np.float32, preprocess.width)}
    )
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    numeric[:5] = 1e300
    numeric[5:9] = -np.inf
    found = session.run(["mapped"], {"numeric": numeric, "codes": codes})[0]
    expected = preprocess(torch.from_numpy(numeric), torch.from_numpy(codes)).numpy()
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=2e-6)

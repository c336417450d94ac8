import numpy as np
import pytest
import torch

from nearnorm.training.export.onnx_graph import to_onnx
from nearnorm.training.fitting.fit import TrainingSet, fit
from nearnorm.training.method.config import FitConfig
from nearnorm.training.method.inputs.preprocess import Preprocess
from nearnorm.training.method.network import Detector
from tests.training.samples import quick, sample

OUTPUTS = ("score", "similarity", "prototype", "distance", "reconstruction_error", "residual")


def answers(detector: Detector, numeric: np.ndarray, codes: np.ndarray) -> list[np.ndarray]:
    with torch.no_grad():
        out = detector(torch.from_numpy(numeric), torch.from_numpy(codes))
    return [tensor.numpy() for tensor in out]


@pytest.fixture(scope="module", params=["default", "paper", "cold start"])
def fitted(request: pytest.FixtureRequest) -> tuple[Detector, TrainingSet]:
    cold = request.param == "cold start"
    data, _ = sample(labelled=0 if cold else 5)
    preset = "default" if cold else request.param
    changes = {} if preset == "default" else {"members": 1}
    return fit(data, quick(preset, **changes), seed=0).detector, data


def test_outputs_have_their_shapes_and_ranges(fitted: tuple[Detector, TrainingSet]) -> None:
    detector, data = fitted
    out = dict(zip(OUTPUTS, answers(detector, data.numeric, data.codes), strict=True))
    rows, groups = len(data.labels), len(detector.prototypes)
    assert out["score"].shape == (rows,)
    assert out["score"].dtype == np.float32
    assert ((out["score"] >= 0) & (out["score"] <= 1)).all()
    assert out["similarity"].shape == (rows, groups)
    assert (out["similarity"].argmax(1) == out["prototype"]).all()
    assert out["prototype"].dtype == np.int64
    assert out["residual"].shape == (rows, 6)
    width = detector.preprocess.width
    assert out["residual"].sum(1) / width == pytest.approx(out["reconstruction_error"], rel=1e-4)


def test_distance_is_euclidean_in_the_space_of_embed(
    fitted: tuple[Detector, TrainingSet],
) -> None:
    detector, data = fitted
    out = dict(zip(OUTPUTS, answers(detector, data.numeric, data.codes), strict=True))
    with torch.no_grad():
        embedded = detector.embed(torch.from_numpy(data.numeric), torch.from_numpy(data.codes))
        wanted = torch.cdist(embedded, detector.prototypes).amin(1).numpy()
    assert out["distance"] == pytest.approx(wanted, abs=2e-3)


def test_a_row_scores_the_same_alone_and_in_any_order(
    fitted: tuple[Detector, TrainingSet],
) -> None:
    detector, data = fitted
    together = answers(detector, data.numeric, data.codes)[0]
    order = np.random.default_rng(0).permutation(len(together))
    assert answers(detector, data.numeric[order], data.codes[order])[0] == pytest.approx(
        together[order], abs=1e-5
    )
    alone = [answers(detector, data.numeric[[i]], data.codes[[i]])[0][0] for i in range(8)]
    assert np.array(alone) == pytest.approx(together[:8], abs=1e-5)


@pytest.mark.parametrize(("columns", "hidden"), [(10, 9), (232, 120), (1_500, 120)])
def test_hidden_layers_are_half_as_wide_as_the_input_up_to_a_bound(columns: int, hidden: int) -> None:
    numeric = np.random.default_rng(0).normal(size=(100, columns))
    preprocess = Preprocess(numeric, np.zeros((100, 0), np.int64), (), "quantile")
    detector = Detector(preprocess, FitConfig(), torch.Generator())
    assert detector.encode_in.weight.shape == (4, columns, hidden)
    assert detector.decode_out.weight.shape == (4, hidden, columns)
    assert len(to_onnx(detector)) < 8_000_000

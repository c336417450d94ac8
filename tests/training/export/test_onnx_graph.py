import copy
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.bundle.manifest import Golden
from nearnorm.models.bundle.operators import check_operators
from nearnorm.models.data.schema import TimeColumns
from nearnorm.training.export.onnx_graph import (
    INPUTS,
    OUTPUTS,
    ExportError,
    assert_parity,
    golden_rows,
    to_onnx,
)
from nearnorm.training.fitting.fit import TrainingSet, fit
from nearnorm.training.method.network import Detector
from tests.training.samples import quick, sample

CUDA_OPERATORS = """
    Abs Add ArgMin Cast Clip Concat Div Equal Floor Gather GatherElements Gemm Greater HardSigmoid IsNaN
    LeakyRelu Log MatMul Max Min Mul Reciprocal ReduceMax ReduceMean ReduceMin Relu Reshape Sigmoid Sqrt
    Squeeze Sub ThresholdedRelu Transpose Unsqueeze Where
"""
"""Of those in onnxruntime's list of CUDA kernels for opset 18, the ones that a detector needs."""


@pytest.fixture(scope="module", params=[5, 20, 100], ids="{} labels".format)
def data(request: pytest.FixtureRequest) -> TrainingSet:
    """Of few labels trees are taught, of many they are grown, and between them there are both."""
    return sample(labelled=request.param)[0]


@pytest.fixture(scope="module")
def detector(data: TrainingSet) -> Detector:
    return fit(data, quick(), seed=0).detector


@pytest.fixture(scope="module")
def model(detector: Detector, data: TrainingSet) -> bytes:
    return to_onnx(detector)


def test_the_graph_has_the_names_and_types_of_the_contract(model: bytes) -> None:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert [(i.name, i.type) for i in session.get_inputs()] == [
        ("numeric", "tensor(double)"),
        ("codes", "tensor(int64)"),
    ]
    assert [o.name for o in session.get_outputs()] == list(OUTPUTS)
    assert [o.type for o in session.get_outputs()] == [
        "tensor(int64)" if name == "prototype" else "tensor(float)" for name in OUTPUTS
    ]


def test_every_operator_is_of_the_standard_set_and_has_a_cuda_kernel(model: bytes) -> None:
    nodes = onnx.load_from_string(model).graph.node
    assert {node.domain for node in nodes} == {""}
    assert {node.op_type for node in nodes} <= set(CUDA_OPERATORS.split())


def test_the_graph_holds_no_path_of_this_machine_and_no_file_beside_it(model: bytes) -> None:
    for place in (sys.prefix, __file__, "site-packages", ".py"):
        assert place.encode() not in model
    loaded = onnx.load_from_string(model)
    assert all(t.data_location == onnx.TensorProto.DEFAULT for t in loaded.graph.initializer)


def test_exporting_twice_gives_the_same_bytes(model: bytes, detector: Detector, data: TrainingSet) -> None:
    assert to_onnx(detector) == model


def test_onnxruntime_answers_as_torch_does_on_real_rows(
    model: bytes, detector: Detector, data: TrainingSet
) -> None:
    assert_parity(model, detector, data.numeric, data.codes)


def test_rounding_right_beside_a_prototype_is_no_difference(detector: Detector, data: TrainingSet) -> None:
    beside = copy.deepcopy(detector)
    with torch.inference_mode():
        embedded = beside.embed(torch.from_numpy(data.numeric[:1000]), torch.from_numpy(data.codes[:1000]))
    beside.set_prototypes(embedded[: len(beside.prototypes)].clone())
    assert_parity(to_onnx(beside), beside, data.numeric, data.codes)


def test_a_row_scores_the_same_alone_in_any_batch_and_in_any_order(model: bytes, data: TrainingSet) -> None:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])

    def scores(rows: np.ndarray) -> np.ndarray:
        inputs = {"numeric": data.numeric[rows], "codes": data.codes[rows]}
        return np.asarray(session.run(["score"], inputs)[0])

    together = scores(np.arange(100))
    order = np.random.default_rng(0).permutation(100)
    np.testing.assert_allclose(scores(order), together[order], rtol=1e-5, atol=1e-6)
    alone = np.concatenate([scores(np.array([row])) for row in range(100)])
    np.testing.assert_allclose(alone, together, rtol=1e-5, atol=1e-6)


def test_a_graph_that_answers_otherwise_is_found_out(
    model: bytes, detector: Detector, data: TrainingSet
) -> None:
    changed = onnx.load_from_string(model)
    for initializer in changed.graph.initializer:
        values = onnx.numpy_helper.to_array(initializer)
        if values.dtype == np.float32 and values.ndim == 3:
            initializer.CopyFrom(onnx.numpy_helper.from_array(values * 1.5, initializer.name))
    with pytest.raises(ExportError, match="differs from torch's"):
        assert_parity(changed.SerializeToString(), detector, data.numeric, data.codes)


@pytest.mark.parametrize(("numbers", "categories"), [(0, 2), (3, 0)])
@pytest.mark.parametrize("labelled", [0, 3])
def test_data_of_numbers_alone_or_categories_alone_is_exported(
    numbers: int, categories: int, labelled: int
) -> None:
    rng = np.random.default_rng(0)
    labels = np.full(200, -1, np.int8)
    labels[:labelled] = 1
    rows = TrainingSet(
        rng.normal(size=(200, numbers)), rng.integers(0, 5, size=(200, categories)), (5,) * categories, labels
    )
    detector = fit(rows, quick(), seed=0).detector
    assert_parity(to_onnx(detector), detector, rows.numeric, rows.codes)


def test_the_paper_preset_is_exported_too(data: TrainingSet) -> None:
    detector = fit(data, quick("paper", members=1), seed=0).detector
    assert_parity(to_onnx(detector), detector, data.numeric, data.codes)


def test_golden_rows_hold_one_without_values_one_of_unknown_categories_and_no_real_row(
    detector: Detector, data: TrainingSet
) -> None:
    golden = golden_rows(detector, data.numeric, data.codes, seed=0)
    assert set(golden.numeric[0]) == {None}
    assert set(golden.codes[0]) == {0}
    assert set(golden.codes[1]) == {1}
    real = {tuple(row) for row in data.numeric.tolist()}
    assert not real & set(golden.numeric)
    assert golden == golden_rows(detector, data.numeric, data.codes, seed=0)


def answers(model: bytes, golden: Golden) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    numeric = np.array(golden.numeric, float)
    found = session.run(list(OUTPUTS), dict(zip(INPUTS, (numeric, np.array(golden.codes)), strict=True)))
    return dict(zip(OUTPUTS, map(np.asarray, found), strict=True))


def test_a_bundles_golden_rows_score_as_its_manifest_says(bundle: Bundle) -> None:
    core = bundle.manifest.core
    tolerance = core.tolerances["CPUExecutionProvider"]
    found = answers(bundle.model, core.golden)
    for name in ("score", "distance", "reconstruction_error"):
        expected = getattr(core.golden, name)
        np.testing.assert_allclose(found[name], expected, rtol=tolerance.relative, atol=tolerance.absolute)
    assert found["prototype"].tolist() == list(core.golden.prototype)


def test_exporting_prints_nothing_and_warns_of_nothing() -> None:
    script = (
        "import warnings; warnings.simplefilter('error')\n"
        "from nearnorm.training.export.onnx_graph import to_onnx\n"
        "from nearnorm.training.fitting.fit import fit\n"
        "from tests.training.samples import quick, sample\n"
        "data = sample()[0]\n"
        "to_onnx(fit(data, quick(), seed=0).detector)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("changes", [{}, {"transform": "minmax"}])
def test_times_are_read_from_calendars_in_the_graph_as_in_torch(changes: dict[str, str]) -> None:
    rng = np.random.default_rng(0)
    paid = 1.75e9 + rng.uniform(0, 300 * 86_400, 400)
    numeric = np.stack([rng.normal(size=400), paid, rng.uniform(-1e9, 1e9, 400)], axis=1)
    numeric[::7, 1] = np.nan
    codes, labels = np.zeros((400, 0), np.int64), np.full(400, -1, np.int8)
    labels[:8] = 1
    times = TimeColumns((1, 2), ((1, 2),))
    config = quick().model_copy(update=changes)
    detector = fit(TrainingSet(numeric, codes, (), labels, times), config, seed=0).detector
    assert [circle.name for circle in detector.preprocess.circles] == ["day", "week", "month"]
    model = to_onnx(detector)
    check_operators(model, "model.onnx")
    numeric[:3, 1] = [1e300, -1e300, -5e13]  # beyond all calendars
    assert_parity(model, detector, numeric, codes)

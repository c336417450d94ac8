"""A model serves only where it answers as it did when it was exported, and where it was asked to."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from nearnorm.models.bundle.bundle import MANIFEST, MODEL, Bundle, read_bundle
from nearnorm.models.bundle.manifest import Tolerance
from nearnorm.models.errors import BundleError, ConfigError
from nearnorm.service.inference.engine import Engine
from nearnorm.service.records.encoded import Rows
from tests.service.bundles import answers, build_model, draw, make_bundle


def test_it_answers_as_onnx_says(bundle: Bundle) -> None:
    engine = Engine(bundle, "cpu")
    assert engine.provider == "CPUExecutionProvider"
    numeric, codes = draw(100, seed=7)
    found, expected = engine.run(Rows(numeric, codes)), answers(bundle.model, numeric, codes)
    for name, values in expected.items():
        np.testing.assert_allclose(getattr(found, name), values, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_a_rows_score_is_the_same_in_any_batch_and_order(bundle: Bundle, size: int) -> None:
    engine = Engine(bundle, "cpu")
    numeric, codes = draw(100, seed=8)
    whole = engine.run(Rows(numeric, codes)).score
    order = np.random.default_rng(0).permutation(100)
    found = np.empty(100, np.float32)
    for start in range(0, 100, size):
        chosen = order[start : start + size]
        found[chosen] = engine.run(Rows(numeric[chosen], codes[chosen])).score
    np.testing.assert_allclose(found, whole, rtol=1e-5, atol=1e-5)


def test_cuda_is_refused_where_there_is_none(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="NEARNORM_DEVICE=cuda"):
        Engine(bundle, "cuda")


def test_golden_rows_that_come_out_differently_are_refused(tmp_path: Path) -> None:
    changed = make_bundle(tmp_path / "b", golden_shift=0.01)
    with pytest.raises(BundleError, match=r"golden rows differently .* score 0\.\d+ instead of 0\.\d+"):
        Engine(changed, "cpu")


def test_golden_rows_within_the_tolerance_are_fine(tmp_path: Path) -> None:
    wide = {"CPUExecutionProvider": Tolerance(absolute=0.02, relative=0.0)}
    Engine(make_bundle(tmp_path / "b", golden_shift=0.01, tolerances=wide), "cpu")


def test_a_provider_without_a_tolerance_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="not made for CPUExecutionProvider"):
        Engine(make_bundle(tmp_path / "b", tolerances={}), "cpu")


def test_a_file_that_is_no_model_is_refused_in_one_line(bundle: Bundle) -> None:
    for content, why in ((b"no model", "is no ONNX model"), (b"", "is refused by onnxruntime")):
        with pytest.raises(BundleError, match=why) as refused:
            Engine(Bundle(bundle.path, bundle.manifest, content), "cpu")
        assert "\n" not in str(refused.value)


def test_an_operator_that_onnxruntime_does_not_know_is_refused(bundle: Bundle) -> None:
    model = onnx.load_from_string(bundle.model)
    model.opset_import.append(helper.make_opsetid("elsewhere", 1))
    model.graph.node[0].domain = "elsewhere"
    with pytest.raises(BundleError, match="an operator of the domain 'elsewhere'"):
        Engine(Bundle(bundle.path, bundle.manifest, model.SerializeToString()), "cpu")


@pytest.mark.parametrize("place", ["weights.bin", "../weights.bin", "{absolute}"])
def test_weights_in_another_file_are_refused(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    for folder in (tmp_path, inside):
        (folder / "weights.bin").write_bytes(np.zeros(1 << 10, np.float32).tobytes())
    model = onnx.load_from_string(bundle.model)
    tensor = next(i for i in model.graph.initializer if i.name == "points")
    size = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    location = place.format(absolute=tmp_path / "weights.bin")
    for key, value in {"location": location, "offset": "0", "length": str(size)}.items():
        tensor.external_data.add(key=key, value=value)
    with pytest.raises(BundleError, match="keeps weights in another file"):
        Engine(Bundle(bundle.path, bundle.manifest, model.SerializeToString()), "cpu")


def test_a_model_without_one_of_the_outputs_is_refused(bundle: Bundle) -> None:
    model = onnx.load_from_string(bundle.model)
    model.graph.output.pop()
    with pytest.raises(BundleError, match="no output 'residual'"):
        Engine(Bundle(bundle.path, bundle.manifest, model.SerializeToString()), "cpu")


def test_a_model_with_another_input_is_refused(bundle: Bundle) -> None:
    model = onnx.load_from_string(bundle.model)
    model.graph.input.append(helper.make_tensor_value_info("noise", TensorProto.FLOAT, ["N"]))
    with pytest.raises(BundleError, match="wants an input 'noise'"):
        Engine(Bundle(bundle.path, bundle.manifest, model.SerializeToString()), "cpu")


def test_a_changed_model_file_never_reaches_onnxruntime(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "b"
    folder.mkdir()
    (folder / MANIFEST).write_bytes((bundle.path / MANIFEST).read_bytes())
    (folder / MODEL).write_bytes(build_model() + b"\0")
    with pytest.raises(BundleError, match="truncated or tampered"):
        read_bundle(folder)

"""A detector -> an ONNX graph of standard operators, proven to answer as torch does."""

import numpy as np
import onnx
import onnxruntime as ort
from torch import nn

from nearnorm.models.bundle.manifest import Golden
from nearnorm.models.data.schema import MISSING_CODE, UNKNOWN_CODE
from nearnorm.training.evaluation.calibrate import Scored, score
from nearnorm.training.export.detector import fused
from nearnorm.training.method.network import Detector

INPUTS = ("numeric", "codes")
OUTPUTS = ("score", "similarity", "prototype", "distance", "reconstruction_error", "residual")
PARITY_BATCHES = (1, 2, 7, 1_000)
GOLDEN_ROWS = 32
ABSOLUTE, RELATIVE = 1e-4, 1e-3


class ExportError(RuntimeError):
    """The exported graph does not answer as the detector does: a defect, not a user's mistake."""


def to_onnx(detector: Detector) -> bytes:
    """Export with one dynamic batch dimension; the bytes depend on the detector alone."""
    model = fused(detector)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def assert_parity(model: bytes, detector: nn.Module, numeric: np.ndarray, codes: np.ndarray) -> None:
    """Compare with torch at several batch sizes on these rows, and on rows with every value missing
    and every category unknown. Raises ExportError naming the output."""
    session = _session(model)
    rows = np.arange(max(PARITY_BATCHES)) % len(numeric)
    numeric, codes = numeric[rows].copy(), codes[rows].copy()
    numeric[1::5], codes[1::5] = np.nan, MISSING_CODE
    codes[2::5] = UNKNOWN_CODE
    expected = score(detector, numeric, codes)
    start = 0
    for size in PARITY_BATCHES:
        part = slice(start, start + size) if size < len(rows) else slice(None)
        answers = session.run(list(OUTPUTS), dict(zip(INPUTS, (numeric[part], codes[part]), strict=True)))
        for name, answer in zip(OUTPUTS, answers, strict=True):
            _compare(name, size, np.asarray(answer), getattr(expected, name)[part], expected, part)
        start += size


def _compare(
    name: str, size: int, answer: np.ndarray, expected: np.ndarray, all_expected: Scored, part: slice
) -> None:
    if answer.shape != expected.shape:
        raise ExportError(f"{name} at batch {size}: shape {answer.shape}, and torch's is {expected.shape}")
    if name == "prototype":  # a tie between prototypes may go either way
        similarity = all_expected.similarity[part]
        rows = np.arange(len(answer))
        answer, expected = similarity[rows, answer], similarity[rows, expected]
    if name == "distance":  # a root: next to a prototype it makes a rounding error a thousand times larger
        answer, expected = answer**2, expected**2
    if not np.allclose(answer, expected, rtol=RELATIVE, atol=ABSOLUTE):
        worst = float(np.abs(answer - expected).max())
        raise ExportError(f"{name} at batch {size} differs from torch's by up to {worst:.2g}")


def golden_rows(detector: nn.Module, numeric: np.ndarray, codes: np.ndarray, seed: int) -> Golden:
    """Made-up rows, each feature drawn by itself; the first has nothing, the second unknown categories."""
    rng = np.random.default_rng([seed, 2])
    rows = np.stack(
        [rng.integers(len(numeric), size=GOLDEN_ROWS) for _ in range(numeric.shape[1] + codes.shape[1])], 1
    )
    made = np.take_along_axis(numeric, rows[:, : numeric.shape[1]], 0)
    made_codes = np.take_along_axis(codes, rows[:, numeric.shape[1] :], 0)
    made[0], made_codes[0], made_codes[1] = np.nan, MISSING_CODE, UNKNOWN_CODE
    answers = score(detector, made, made_codes)
    return Golden(
        numeric=tuple(tuple(None if np.isnan(x) else x for x in row) for row in made.tolist()),
        codes=tuple(map(tuple, made_codes.tolist())),
        score=tuple(answers.score.tolist()),
        prototype=tuple(answers.prototype.tolist()),
        distance=tuple(answers.distance.tolist()),
        reconstruction_error=tuple(answers.reconstruction_error.tolist()),
    )


def _session(model: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

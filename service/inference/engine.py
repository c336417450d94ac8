"""onnxruntime, and the truth about where it runs. Nothing else in the service imports it."""

import os
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from nearnorm.models.bundle.bundle import MODEL, Bundle
from nearnorm.models.bundle.manifest import Golden, Tolerance
from nearnorm.models.bundle.operators import check_operators
from nearnorm.models.errors import BundleError, ConfigError
from nearnorm.service.inference.outputs import Outputs
from nearnorm.service.records.encoded import Rows

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
OPTIONS = {CUDA: {"use_tf32": "0"}}
"""Of providers. Products of ten bits, as CUDA has them by default, would move a normal score by 0.004."""

Device = Literal["auto", "cpu", "cuda"]


_OUTPUTS = list(Outputs.__struct_fields__)
_NOWHERE = os.path.join(os.devnull, "nowhere")
"""A folder that nobody can make, for what is under it is no folder: none of our own has to be taken away."""


class Engine:
    """One model on one provider. `run` may be called from several threads at once."""

    def __init__(self, bundle: Bundle, device: Device, threads: int | None = None) -> None:
        """One thread works on a batch unless told otherwise: a second one is slower than the event loop's
        own up to some hundred rows, and takes the CPU from decoding beyond.

        Raises BundleError for a model that onnxruntime refuses or whose golden rows come out
        differently here, ConfigError for a device that is not there."""
        path = bundle.path / MODEL
        check_operators(bundle.model, str(path))  # before onnxruntime sees it: a loop need not end
        providers = _providers(device)
        try:
            self._session = _session(bundle.model, providers, device, threads or 1)
        except Exception as error:  # onnxruntime raises a class of its own for each status
            raise BundleError(f"{path} is refused by onnxruntime: {_first_line(error)}") from None
        self.provider: str = self._session.get_providers()[0]
        if device == "cuda" and self.provider != CUDA:
            raise ConfigError("NEARNORM_DEVICE=cuda, but onnxruntime could not start CUDA: see its log")
        self._inputs = [i.name for i in self._session.get_inputs()]
        self._check_signature(str(path), bundle)
        self._check_golden(str(path), bundle)

    def run(self, rows: Rows) -> Outputs:
        """The model's answers, one a row."""
        feed = {name: getattr(rows, name) for name in self._inputs}
        return Outputs(*self._session.run(_OUTPUTS, feed))

    def _check_signature(self, path: str, bundle: Bundle) -> None:
        unknown = sorted(set(self._inputs) - {"numeric", "codes"})
        if unknown:
            raise BundleError(f"{path} wants an input {unknown[0]!r}: train it again with this release")
        missing = sorted(set(_OUTPUTS) - {o.name for o in self._session.get_outputs()})
        if missing:
            raise BundleError(f"{path} has no output {missing[0]!r}: train it again with this release")

    def _check_golden(self, path: str, bundle: Bundle) -> None:
        """Re-score the golden rows: a model may serve only where it answers as it did when exported."""
        tolerance = bundle.manifest.core.tolerances.get(self.provider)
        if tolerance is None:
            raise BundleError(
                f"{path} was not made for {self.provider}: its manifest has no tolerance for it"
            )
        golden = bundle.manifest.core.golden
        try:
            found = self.run(golden_rows(golden))
        except Exception as error:
            raise BundleError(f"{path} fails on its golden rows: {_first_line(error)}") from None
        for name in ("score", "distance", "reconstruction_error"):
            expected, actual = np.array(getattr(golden, name)), getattr(found, name)
            power = 2 if name == "distance" else 1  # a root: next to a prototype it magnifies rounding errors
            worst = _excess(actual**power, expected**power, tolerance)
            if worst:
                raise BundleError(
                    f"{path} scores its golden rows differently on this machine's {self.provider}: "
                    f"{name} {worst[1] ** (1 / power):.6g} instead of {worst[0] ** (1 / power):.6g}"
                )
        expected_similarity = found.similarity[np.arange(len(golden.prototype)), list(golden.prototype)]
        if _excess(found.similarity.max(axis=1), expected_similarity.astype(np.float64), tolerance):
            raise BundleError(f"{path} finds other nearest prototypes for its golden rows on this machine")


def golden_rows(golden: Golden) -> Rows:
    count = len(golden.score)
    numeric = np.array([[np.nan if v is None else v for v in row] for row in golden.numeric], np.float64)
    codes = np.array(golden.codes, np.int64)
    return Rows(numeric.reshape(count, -1), codes.reshape(count, -1))


def has_cuda() -> bool:
    """Whether the onnxruntime that is installed here knows CUDA."""
    return CUDA in ort.get_available_providers()


def cpus() -> int:
    """CPUs that this process may use, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _providers(device: Device) -> list[str]:
    if device == "cuda":
        if not has_cuda():
            raise ConfigError(
                "NEARNORM_DEVICE=cuda, but this onnxruntime has no CUDA: install the extra gpu, not cpu"
            )
        return [CUDA]
    return [CUDA, CPU] if device == "auto" and has_cuda() else [CPU]


def _session(model: bytes, providers: list[str], device: Device, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong is raised, and told in our words
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if device == "cuda":
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    # a model is one verified file: weights in other files would be looked for here
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", _NOWHERE)
    chosen = [(name, OPTIONS.get(name, {})) for name in providers]
    return ort.InferenceSession(model, options, providers=chosen)


def _excess(
    actual: NDArray[np.float32], wanted: NDArray[np.float64], tolerance: Tolerance
) -> tuple[float, float] | None:
    """Wanted and actual value where they differ most beyond the tolerance."""
    if actual.shape != wanted.shape:
        return float(len(wanted)), float(len(actual))
    over = np.abs(actual - wanted) - (tolerance.absolute + tolerance.relative * np.abs(wanted))
    worst = int(np.argmax(np.where(np.isnan(over), np.inf, over)))
    return None if over[worst] <= 0 else (float(wanted[worst]), float(actual[worst]))


def _first_line(error: Exception) -> str:
    lines: list[Any] = str(error).splitlines()
    return str(lines[0]) if lines else type(error).__name__

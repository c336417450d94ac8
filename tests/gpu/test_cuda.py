"""What NEARNORM_DEVICE=cuda promises, where there is a CUDA device."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from nearnorm.service.inference.engine import CUDA, Engine
from nearnorm.service.records.encoded import Rows
from tests.service.bundles import make_bundle

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        CUDA not in ort.get_available_providers(),
        reason="no CUDA here: it wants the extra gpu",
    ),
]


@pytest.mark.parametrize("count", [1, 7, 1_024, 65_536])
def test_every_batch_is_scored_on_the_gpu_as_on_the_cpu(tmp_path: Path, count: int) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    schema = bundle.manifest.core.features
    rng = np.random.default_rng(0)
    rows = Rows(
        rng.normal(size=(count, len(schema.numeric))), np.zeros((count, len(schema.categorical)), np.int64)
    )
    on_cpu, on_gpu = Engine(bundle, "cpu"), Engine(bundle, "cuda")
    assert on_gpu.provider == CUDA
    tolerance = bundle.manifest.core.tolerances[CUDA]
    expected, found = on_cpu.run(rows), on_gpu.run(rows)
    for name in ("score", "distance", "reconstruction_error"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), rtol=tolerance.relative, atol=tolerance.absolute
        )

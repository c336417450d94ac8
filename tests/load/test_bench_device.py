"""What `make bench-device` says of a model, where there is no device: the same functions on the CPU."""

from pathlib import Path

import numpy as np
import pytest

from nearnorm.service.inference.engine import CPU, CUDA, Engine, golden_rows
from tests.load.bench_device import apart, compare, on_cuda, placed
from tests.service.bundles import make_bundle


def test_every_node_is_counted_where_it_ran(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    where = placed(bundle.model, CPU, golden_rows(bundle.manifest.core.golden))
    assert set(where) == {CPU}
    assert where[CPU] > 10


def test_answers_apart_are_told_in_tolerances(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    tolerance = bundle.manifest.core.tolerances[CUDA]
    expected = Engine(bundle, "cpu").run(golden_rows(bundle.manifest.core.golden))
    assert max(apart(expected, expected, tolerance).values()) == 0.0
    found = Engine(bundle, "cpu").run(golden_rows(bundle.manifest.core.golden))
    found.score = found.score + np.float32(2.0 * tolerance.absolute + 2.0 * tolerance.relative)
    worst = apart(found, expected, tolerance)
    assert worst["score"] > 1.0 > worst["residual"]


def test_a_model_that_does_not_run_on_cuda_ends_the_comparison_with_an_error(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    rows = golden_rows(bundle.manifest.core.golden)
    if on_cuda(bundle) is not None:
        pytest.skip("there is CUDA here")
    with pytest.warns(UserWarning, match=CUDA), pytest.raises(SystemExit, match="as promised"):
        compare("made", bundle, rows, Engine(bundle, "cpu"))


def test_where_there_is_no_cuda_the_reason_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if on_cuda(make_bundle(tmp_path / "bundle")) is not None:
        pytest.skip("there is CUDA here")
    assert "CUDA is skipped: NEARNORM_DEVICE=cuda" in capsys.readouterr().out

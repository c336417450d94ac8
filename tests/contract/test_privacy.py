"""What we run must not call home: records of fraud and security are nobody else's business."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("module", ["service.inference.engine", "training.export.onnx_graph"])
def test_onnxruntime_makes_no_identifier_to_report_under(module: str, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    home = {"TMPDIR": str(tmp_path), "HOME": str(tmp_path), "MPLCONFIGDIR": str(tmp_path / "matplotlib")}
    subprocess.run(
        [sys.executable, "-c", f"import nearnorm.{module}"], env={**environment, **home}, check=True
    )
    assert [path.name for path in tmp_path.iterdir() if path.name != "matplotlib"] == []

"""A command whose extra is not installed ends in one line that names it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.conftest import PAYMENTS


@pytest.mark.parametrize(
    ("module", "extra", "arguments"),
    [
        ("pyarrow", "training", ["train", PAYMENTS, "--out", "model"]),
        ("torch", "training", ["train", PAYMENTS, "--out", "model", "--progress", "off"]),
        ("sklearn", "training", ["evaluate", PAYMENTS, "--out", "page"]),
        ("pyarrow", "training", ["inspect", PAYMENTS]),
        ("pyarrow", "arrow", ["score", "BUNDLE", PAYMENTS, "--out", "o.csv"]),
        ("ray", "ray", ["score", "BUNDLE", PAYMENTS, "--out", "o/", "--allow-missing", "--engine", "ray"]),
        ("aiokafka", "kafka", ["stream", "--brokers", "b:1", "--in", "a", "--out", "b"]),
        ("onnxruntime", "cpu", ["score", "BUNDLE", PAYMENTS, "--out", "o.csv"]),
    ],
)
def test_a_missing_extra_is_named_in_one_line(
    tmp_path: Path, module: str, extra: str, arguments: list[str]
) -> None:
    from nearnorm import models

    starter = str(Path(models.__file__).parent / "starter")
    given = [starter if argument == "BUNDLE" else argument for argument in arguments]
    script = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from nearnorm.service.cli.main import main\n"
        f"sys.argv = ['nearnorm', *{given!r}]\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 2, done.stderr
    assert f"`nearnorm {given[0]}` needs the module {module}" in last
    assert f"install the extra {extra}" in last
    assert "Traceback" not in done.stderr

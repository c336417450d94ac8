"""Benchmarks that need data sets say where they look for them, and end without one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.sets.bench_data import bench_data

ROOT = Path(__file__).parents[3]
NEEDING = ("detection.bench_quality", "detection.bench_robustness", "loop.bench_loop", "loop.bench_queue")


@pytest.mark.parametrize("benchmark", NEEDING)
def test_a_benchmark_without_its_data_sets_is_skipped_and_says_what_to_set(benchmark: str) -> None:
    bare = {name: value for name, value in os.environ.items() if name != "BENCH_DATA"}
    ended = subprocess.run(
        [sys.executable, "-m", f"tests.benchmarks.{benchmark}"],
        cwd=ROOT,
        env=bare,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert "skipped: BENCH_DATA is not set" in ended.stderr
    assert ended.stdout == ""


def test_the_folder_of_a_part_is_told_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    assert bench_data("data") == tmp_path / "data"
    assert bench_data("data2") is None
    assert "no folder data2" in capsys.readouterr().err


def test_the_makefile_names_the_setting_of_each_benchmark_that_needs_it() -> None:
    lines = (ROOT / "Makefile").read_text().splitlines()
    for benchmark in NEEDING:
        verb = benchmark.rpartition(".")[2].replace("_", "-")
        (line,) = [line for line in lines if line.startswith(f"{verb}:")]
        assert "BENCH_DATA" in line
